"""SQL that finds the parent of a new response.

Hand-written, because every request with `previous_response_id` runs it.
"""

from dataclasses import dataclass

from core.database import Connection


@dataclass(frozen=True)
class Parent:
    """A stored response that a new response continues.

    Args:
        document: the response object, as JSON text.
        request: the parent's packed request, as JSON text; see `core.context.context.pack`.
    """

    status: str
    document: str
    request: str


def find(connection: Connection, project_id: str, response_id: str) -> Parent | None:
    """Find the project's stored response with this ID; None if there is none."""
    row = connection.execute(
        "select status, document, request from responses where id = %s and project_id = %s and stored",
        (response_id, project_id),
    ).fetchone()
    return None if row is None else Parent(*row)
