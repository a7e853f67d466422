"""Changes to keys and projects in the caller's transaction, with their audit log entries."""

import hashlib
from collections.abc import Collection

from core import errors, ids
from core.database import Connection
from core.tenants import audit_sql, keys_sql, projects_sql
from core.tenants.audit import Act, Actor
from core.tenants.keys_sql import KeyDetails

NAME_LIMIT = 128
_HINT_LENGTH = 4


def insert_key(
    connection: Connection,
    secret: str,
    project_id: str,
    key_rights: Collection[str],
    *,
    actor: Actor,
    name: str | None = None,
    additional_ids: Collection[str] = (),
) -> str:
    """Store a key and its audit log entry, in the caller's transaction.

    Args:
        key_rights: the complete rights of the key.
        additional_ids: IDs of the projects to which the key has access besides its own.

    Returns:
        The ID of the key.

    Raises:
        errors.InvalidRequest: the name is invalid.
    """
    if name is not None and not (0 < len(name) <= NAME_LIMIT and name.isprintable()):
        raise errors.InvalidRequest(f"A key name must have 1 to {NAME_LIMIT} printable characters.", param="name")
    key_id = ids.new_id("key")
    keys_sql.insert(
        connection,
        key_id,
        project_id,
        key_hash=hash_secret(secret),
        hint=secret[-_HINT_LENGTH:],
        rights=key_rights,
        name=name,
        additional_ids=additional_ids,
    )
    details = {"rights": sorted(key_rights)} | ({"also": sorted(additional_ids)} if additional_ids else {})
    audit_sql.insert(connection, Act(actor, "key.created", key_id, details), project_id)
    return key_id


def replace_secret(connection: Connection, row: KeyDetails, secret: str, *, actor: Actor) -> None:
    """Replace the secret of a key permanently. The caller must have locked the row of the key."""
    old_hash = keys_sql.rotate(connection, row.id, key_hash=hash_secret(secret), hint=secret[-_HINT_LENGTH:])
    # Store the old hash as a revoked key. Otherwise `register`, which `backburner up` calls with a secret, would create
    # a valid key from the old secret.
    old_key_id = ids.new_id("key")
    keys_sql.insert(
        connection,
        old_key_id,
        row.project_id,
        key_hash=old_hash,
        hint=row.hint,
        rights=row.rights,
        name=f"replaced by {row.id}",
    )
    keys_sql.revoke(connection, old_key_id)
    audit_sql.insert(connection, Act(actor, "key.rotated", row.id), row.project_id)


def revoke_key(connection: Connection, row: KeyDetails, *, actor: Actor) -> None:
    """Revoke a key. The caller must have locked its row."""
    keys_sql.revoke(connection, row.id)
    audit_sql.insert(connection, Act(actor, "key.revoked", row.id), row.project_id)


def check_project_name(name: str) -> None:
    """Check that `name` is a valid project name.

    Raises:
        errors.InvalidRequest: the name is empty, too long or not printable, or looks like an ID.
    """
    has_valid_length = len(name.strip()) > 0 and len(name) <= NAME_LIMIT
    if not has_valid_length or not name.isprintable() or name.startswith("proj_"):
        raise errors.InvalidRequest(
            f"A project name must have 1 to {NAME_LIMIT} printable characters and must not begin with 'proj_'.",
            param="name",
        )


def add_project(connection: Connection, name: str, *, actor: Actor) -> str:
    """Store a project and its audit log entry, in the caller's transaction; return the ID of the project.

    Raises:
        errors.InvalidRequest: the name is invalid, or another project has it.
    """
    check_project_name(name)
    project_id = ids.new_id("proj")
    if not projects_sql.insert(connection, project_id, name):
        raise errors.InvalidRequest(
            f"A project named '{name}' already exists.", param="name", code="project_name_taken"
        )
    audit_sql.insert(connection, Act(actor, "project.created", project_id), project_id)
    return project_id


def hash_secret(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
