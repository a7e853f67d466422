"""SQL of API keys and of their access to projects."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by
from sqlalchemy.dialects.postgresql import insert as insert_into

from core.database import Connection
from core.tables.projects import api_key_projects as accesses
from core.tables.projects import api_keys, projects
from core.tables.statement import Statement


@dataclass(frozen=True)
class Caller:
    """An authenticated key, the project in which it acts, and its rights."""

    key_id: str
    project_id: str
    project: str  # the name of the project
    rights: Collection[str]
    projects: tuple[str, ...]  # IDs of all projects to which the key has access, its own project first


@dataclass(frozen=True)
class StoredKey:
    """A valid key with its hash and the projects to which it has access, its own project first."""

    key_id: str
    hash: bytes
    rights: list[str]
    project_ids: list[str]
    project_names: list[str]


@dataclass(frozen=True)
class KeyDetails:
    """A key as shown to operators and admins, without the secret, which is not stored."""

    id: str
    project_id: str
    project: str
    name: str | None
    hint: str
    rights: list[str]
    also: list[str]  # names of the projects to which the key has access besides its own
    also_ids: list[str]
    created_at: datetime
    rotated_at: datetime | None
    revoked_at: datetime | None


_OWN_PROJECT_FIRST = (projects.c.id != api_keys.c.project_id, projects.c.id)
_FIND_STORED_KEY = Statement(
    sa.select(
        api_keys.c.id.label("key_id"),
        api_keys.c.hash,
        api_keys.c.rights,
        sa.func.array_agg(aggregate_order_by(projects.c.id, *_OWN_PROJECT_FIRST)).label("project_ids"),
        sa.func.array_agg(aggregate_order_by(projects.c.name, *_OWN_PROJECT_FIRST)).label("project_names"),
    )
    .join_from(
        api_keys,
        projects,
        (projects.c.id == api_keys.c.project_id)
        | projects.c.id.in_(sa.select(accesses.c.project_id).where(accesses.c.key_id == api_keys.c.id)),
    )
    .where(api_keys.c.hash == sa.bindparam("hash"), api_keys.c.revoked_at.is_(None))
    .group_by(api_keys.c.id)
)
_INSERT = Statement(sa.insert(api_keys).inline(), "id", "project_id", "hash", "hint", "rights", "name")
_GRANT_ACCESS = Statement(insert_into(accesses).on_conflict_do_nothing().inline(), "key_id", "project_id")
_additional_projects = projects.alias("further")
_SELECT = sa.select(
    api_keys.c.id,
    api_keys.c.project_id,
    projects.c.name.label("project"),
    api_keys.c.name,
    api_keys.c.hint,
    api_keys.c.rights,
    api_keys.c.created_at,
    api_keys.c.rotated_at,
    api_keys.c.revoked_at,
    sa.func.array(
        sa.select(_additional_projects.c.name)
        .join_from(accesses, _additional_projects, _additional_projects.c.id == accesses.c.project_id)
        .where(accesses.c.key_id == api_keys.c.id)
        .order_by(_additional_projects.c.id)
        .scalar_subquery(),
        type_=ARRAY(sa.Text),
    ).label("also"),
    sa.func.array(
        sa.select(accesses.c.project_id)
        .where(accesses.c.key_id == api_keys.c.id)
        .order_by(accesses.c.project_id)
        .scalar_subquery(),
        type_=ARRAY(sa.Text),
    ).label("also_ids"),
).join_from(api_keys, projects, projects.c.id == api_keys.c.project_id)
_OLDEST_FIRST = _SELECT.order_by(api_keys.c.created_at, api_keys.c.id)
_LIST_ALL = Statement(_OLDEST_FIRST)
_LIST_BY_PROJECT = Statement(_OLDEST_FIRST.where(api_keys.c.project_id == sa.bindparam("project_id")))
_FIND = Statement(_SELECT.where(api_keys.c.id == sa.bindparam("id")))
_FIND_BY_HASH = Statement(_SELECT.where(api_keys.c.hash == sa.bindparam("hash")))
_is_requested_key = api_keys.c.id == sa.bindparam("key_id")
_LOCK = Statement(sa.select(sa.literal_column("1")).where(_is_requested_key).with_for_update(key_share=True))
_SET_RIGHTS = Statement(sa.update(api_keys).where(_is_requested_key), "rights")
_FIND_HASH = Statement(sa.select(api_keys.c.hash).where(_is_requested_key))
_ROTATE = Statement(sa.update(api_keys).where(_is_requested_key).values(rotated_at=sa.func.now()), "hash", "hint")
_REVOKE = Statement(sa.update(api_keys).where(_is_requested_key).values(revoked_at=sa.func.now()))


def find_stored_key(connection: Connection, key_hash: bytes) -> StoredKey | None:
    """Return the key with this hash; None if it is unknown or revoked."""
    return _FIND_STORED_KEY.fetch_one(connection, StoredKey, hash=key_hash)


def insert(
    connection: Connection,
    key_id: str,
    project_id: str,
    *,
    key_hash: bytes,
    hint: str,
    rights: Iterable[str],
    name: str | None = None,
    additional_ids: Iterable[str] = (),
) -> None:
    """Insert a key.

    Args:
        key_hash: SHA-256 hash of the key.
        hint: the last characters of the key, for lists.
        additional_ids: IDs of the projects to which the key has access besides its own.
    """
    _INSERT.execute(
        connection, id=key_id, project_id=project_id, hash=key_hash, hint=hint, rights=sorted(rights), name=name
    )
    for additional_id in additional_ids:
        grant_access(connection, key_id, additional_id)


def grant_access(connection: Connection, key_id: str, project_id: str) -> None:
    """Grant a key access to an additional project."""
    _GRANT_ACCESS.execute(connection, key_id=key_id, project_id=project_id)


def select_keys(connection: Connection, project_id: str | None = None) -> list[KeyDetails]:
    """Return all keys, or the keys of the project with this ID, oldest first."""
    if project_id is None:
        return _LIST_ALL.fetch_all(connection, KeyDetails)
    return _LIST_BY_PROJECT.fetch_all(connection, KeyDetails, project_id=project_id)


def find(connection: Connection, key_id: str) -> KeyDetails | None:
    """Return the key with this ID, revoked or not; None if there is none."""
    return _FIND.fetch_one(connection, KeyDetails, id=key_id)


def find_by_hash(connection: Connection, key_hash: bytes) -> KeyDetails | None:
    """Return the key with this hash, revoked or not; None if there is none."""
    return _FIND_BY_HASH.fetch_one(connection, KeyDetails, hash=key_hash)


def lock(connection: Connection, key_id: str) -> None:
    """Lock a key against changes until the end of the transaction."""
    _LOCK.execute(connection, key_id=key_id)


def set_rights(connection: Connection, key_id: str, rights: Iterable[str]) -> None:
    _SET_RIGHTS.execute(connection, key_id=key_id, rights=sorted(rights))


def rotate(connection: Connection, key_id: str, *, key_hash: bytes, hint: str) -> bytes:
    """Replace the hash of a key and return the old hash."""
    row = _FIND_HASH.fetch_row(connection, key_id=key_id)
    assert row is not None
    _ROTATE.execute(connection, key_id=key_id, hash=key_hash, hint=hint)
    return bytes(row[0])


def revoke(connection: Connection, key_id: str) -> None:
    """Revoke a key permanently."""
    _REVOKE.execute(connection, key_id=key_id)
