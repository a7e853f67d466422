"""SQL of idempotency keys, which map a repeated create request to the response of the first request.

Hand-written, because every create request with an `Idempotency-Key` runs it.
"""

from dataclasses import dataclass

from core.database import Connection

KEY_TTL_S = 24 * 3600

_CLAIM = """
insert into idempotency_keys (project_id, key, request_hash, response_id)
values (%(project_id)s, %(key)s, %(request_hash)s, %(response_id)s)
on conflict (project_id, key) do update
    set request_hash = excluded.request_hash, response_id = excluded.response_id, created_at = now()
    where idempotency_keys.created_at < now() - %(ttl_s)s * interval '1 s'
returning 1
"""


@dataclass(frozen=True)
class KeyOwner:
    """The create request that owns an idempotency key, with the ID of its response."""

    request_hash: bytes
    response_id: str


def claim_key(
    connection: Connection, project_id: str, key: str, *, request_hash: bytes, response_id: str
) -> KeyOwner | None:
    """Claim a key for a response that the caller is about to insert.

    A key that was claimed in the last `KEY_TTL_S` seconds cannot be claimed again. If a concurrent transaction claims
    the same key, this function waits for its end.

    Returns:
        None if the caller's response now owns the key, otherwise the current owner.
    """
    values = {
        "project_id": project_id,
        "key": key,
        "request_hash": request_hash,
        "response_id": response_id,
        "ttl_s": KEY_TTL_S,
    }
    if connection.execute(_CLAIM, values).fetchone() is not None:
        return None
    row = connection.execute(
        "select request_hash, response_id from idempotency_keys where project_id = %s and key = %s", (project_id, key)
    ).fetchone()
    assert row is not None
    return KeyOwner(bytes(row[0]), str(row[1]))


def find_owner(connection: Connection, project_id: str, key: str) -> KeyOwner | None:
    """Return the owner of a key that was claimed in the last `KEY_TTL_S` seconds, or None."""
    row = connection.execute(
        "select request_hash, response_id from idempotency_keys where project_id = %s and key = %s"
        " and created_at >= now() - %s * interval '1 s'",
        (project_id, key, KEY_TTL_S),
    ).fetchone()
    return None if row is None else KeyOwner(bytes(row[0]), str(row[1]))


def delete_old(connection: Connection, limit: int) -> None:
    """Delete at most `limit` keys that are older than `KEY_TTL_S` seconds; locked rows are skipped."""
    connection.execute(
        "delete from idempotency_keys where (project_id, key) in ("
        "select project_id, key from idempotency_keys where created_at < now() - %s * interval '1 s'"
        " order by created_at limit %s for update skip locked)",
        (KEY_TTL_S, limit),
    )
