"""SQL for stored prompts and their versions."""

from dataclasses import dataclass
from datetime import datetime
from functools import cache

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from core.database import Connection
from core.tables.projects import prompt_versions as versions
from core.tables.projects import prompts
from core.tables.statement import Statement


@dataclass(frozen=True)
class StoredPrompt:
    """A prompt with the numbers of its versions, oldest first."""

    id: str
    name: str
    description: str | None
    default_version: int
    created_at: datetime
    versions: list[int]


@dataclass(frozen=True)
class StoredVersion:
    """A version of a prompt; `template` is JSON text."""

    version: int
    template: str
    created_at: datetime


_INSERT = Statement(sa.insert(prompts).values(default_version=1).inline(), "id", "project_id", "name", "description")
_is_requested_prompt = (prompts.c.id == sa.bindparam("prompt_id")) & (prompts.c.project_id == sa.bindparam("project"))
_LOCK = Statement(sa.select(sa.literal_column("1")).where(_is_requested_prompt).with_for_update(key_share=True))
_ADD_VERSION = Statement(
    sa.insert(versions)
    .from_select(
        ["prompt_id", "version", "template"],
        sa.select(
            sa.bindparam("prompt", type_=sa.Text),
            sa.func.coalesce(sa.func.max(versions.c.version), 0) + 1,
            sa.bindparam("text", type_=sa.Text),
        ).where(versions.c.prompt_id == sa.bindparam("prompt", type_=sa.Text)),
    )
    .returning(versions.c.version)
)
_UPDATE = Statement(
    sa.update(prompts)
    .where(prompts.c.id == sa.bindparam("prompt_id"))
    .values(
        name=sa.func.coalesce(sa.bindparam("new_name", type_=sa.Text), prompts.c.name),
        description=sa.func.coalesce(sa.bindparam("new_description", type_=sa.Text), prompts.c.description),
        default_version=sa.func.coalesce(sa.bindparam("new_default", type_=sa.Integer), prompts.c.default_version),
    )
)
_PROMPTS = sa.select(
    prompts.c.id,
    prompts.c.name,
    prompts.c.description,
    prompts.c.default_version,
    prompts.c.created_at,
    sa.func.array(
        sa.select(versions.c.version)
        .where(versions.c.prompt_id == prompts.c.id)
        .order_by(versions.c.version)
        .scalar_subquery(),
        type_=ARRAY(sa.Integer),
    ).label("versions"),
).where(prompts.c.project_id == sa.bindparam("project"))
_FIND = Statement(_PROMPTS.where(prompts.c.id == sa.bindparam("prompt_id")))
_FIND_VERSION = Statement(
    sa.select(versions.c.version, versions.c.template, versions.c.created_at)
    .join_from(prompts, versions, versions.c.prompt_id == prompts.c.id)
    .where(
        _is_requested_prompt,
        versions.c.version == sa.func.coalesce(sa.bindparam("version", type_=sa.Integer), prompts.c.default_version),
    )
)
_DELETE = Statement(sa.delete(prompts).where(_is_requested_prompt))


@cache
def _page_statement(*, descending: bool, has_after: bool) -> Statement:
    """Return the statement that reads the first page or, if `has_after`, the page after the prompt `after`."""
    order = (prompts.c.created_at, prompts.c.id)
    page = _PROMPTS.order_by(*(column.desc() if descending else column for column in order))
    if has_after:
        previous = prompts.alias("last")
        previous_key = (
            sa.select(previous.c.created_at, previous.c.id)
            .where(previous.c.id == sa.bindparam("after"))
            .scalar_subquery()
        )
        sort_key = sa.tuple_(*order)
        page = page.where(sort_key < previous_key if descending else sort_key > previous_key)
    return Statement(page.limit(sa.bindparam("limit", type_=sa.BigInteger)))


def insert(connection: Connection, project_id: str, prompt_id: str, *, name: str, description: str | None) -> None:
    """Insert a prompt. The caller must add its version 1 in the same transaction.

    Raises:
        psycopg.errors.UniqueViolation: the ID exists, or the project has a prompt with this name.
    """
    _INSERT.execute(connection, id=prompt_id, project_id=project_id, name=name, description=description)


def lock(connection: Connection, project_id: str, prompt_id: str) -> bool:
    """Lock a prompt against concurrent changes and new versions; return False if the project has no such prompt."""
    return _LOCK.execute(connection, prompt_id=prompt_id, project=project_id) == 1


def add_version(connection: Connection, prompt_id: str, template: str) -> int:
    """Insert the next version of a prompt that this transaction has locked or inserted; return its number."""
    row = _ADD_VERSION.fetch_row(connection, prompt=prompt_id, text=template)
    assert row is not None
    return int(row[0])


def update(
    connection: Connection, prompt_id: str, *, name: str | None, description: str | None, default_version: int | None
) -> None:
    """Update the columns whose value is not None.

    Raises:
        psycopg.errors.UniqueViolation: the project has another prompt with this name.
    """
    _UPDATE.execute(
        connection, prompt_id=prompt_id, new_name=name, new_description=description, new_default=default_version
    )


def find(connection: Connection, project_id: str, prompt_id: str) -> StoredPrompt | None:
    """Return the project's prompt with this ID; None if there is none."""
    return _FIND.fetch_one(connection, StoredPrompt, project=project_id, prompt_id=prompt_id)


def page(
    connection: Connection, project_id: str, *, limit: int, descending: bool, after: str | None
) -> list[StoredPrompt]:
    """Return up to `limit` of a project's prompts in the order of their creation, starting after the prompt `after`."""
    statement = _page_statement(descending=descending, has_after=after is not None)
    return statement.fetch_all(connection, StoredPrompt, project=project_id, after=after, limit=limit)


def find_version(connection: Connection, project_id: str, prompt_id: str, version: int | None) -> StoredVersion | None:
    """Return a version of a prompt, or its default version if `version` is None; None if there is no such version."""
    return _FIND_VERSION.fetch_one(connection, StoredVersion, prompt_id=prompt_id, project=project_id, version=version)


def delete(connection: Connection, project_id: str, prompt_id: str) -> bool:
    """Delete a prompt with its versions; return False if the project has no such prompt."""
    return _DELETE.execute(connection, prompt_id=prompt_id, project=project_id) == 1
