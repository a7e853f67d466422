"""SQL for finding the response that a new one continues."""

from dataclasses import dataclass

from core.database import Connection


@dataclass(frozen=True)
class Parent:
    """A stored response.

    Args:
        document: the response object, as JSON text.
        request: its request and context, as packed by `core.context.context`.
    """

    status: str
    document: str
    request: str


def find(connection: Connection, project_id: str, response_id: str) -> Parent | None:
    """The project's stored response with this ID, or None."""
    row = connection.execute(
        "select status, document, request from responses where id = %s and project_id = %s and stored",
        (response_id, project_id),
    ).fetchone()
    return None if row is None else Parent(*row)
