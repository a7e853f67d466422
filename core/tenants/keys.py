"""API keys: creation, authentication, rotation and revocation. Only hashes of the keys are stored."""

import hashlib
import hmac
import secrets
import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from cachetools import TTLCache

from core import errors, ids
from core.database import Connection, Database
from core.tenants import audit, keys_sql, projects_sql, rights
from core.tenants import audit_sql as log
from core.tenants.audit import Act, Actor
from core.tenants.keys_sql import Caller, Listed

__all__ = ["Caller", "Keys", "Listed"]

PREFIX = "sk-bb-"
DEFAULT_PROJECT = "default"
NAME_LIMIT = 128
_CACHED = 10_000
_HINT = 4  # characters
_NOWHERE: Mapping[str, str] = {}


@dataclass(frozen=True)
class _Known:
    """An authenticated key: the caller for its own project, and a caller for each of its projects by ID and by name."""

    own: Caller
    by_name: Mapping[str, Caller]


class Keys:
    """Authenticates, creates, rotates and revokes API keys.

    Keys are cached for `cache_s` seconds, so every process rejects a revoked key within that time.
    """

    def __init__(self, database: Database, *, cache_s: float) -> None:
        self._database = database
        self._cache: TTLCache[bytes, _Known] = TTLCache(_CACHED, cache_s)
        self._lock = threading.Lock()

    def caller(self, secret: str, asked: Mapping[str, str] = _NOWHERE) -> Caller:
        """Authenticate a key and return the caller, with the project in which it acts.

        Args:
            secret: the API key.
            asked: the requested project by ID or name, under the name of each request parameter that selects it; if
                empty, the key's own project is used.

        Raises:
            errors.InvalidKey: the key is unknown or revoked.
            errors.NotFound: the project does not exist, or the key has no access to it; the two cannot be
                distinguished.
            errors.InvalidRequest: two parameters name different projects.
            errors.StoreUnavailable: Postgres is unavailable.
        """
        hashed = _hash(secret)
        with self._lock:
            known = self._cache.get(hashed)
        if known is None:
            known = self._find(hashed)
        if not asked:
            return known.own
        if any(project not in known.by_name for project in asked.values()):
            known = self._find(hashed)  # access to the project may have been granted after the key was cached
        return _chosen(known, asked)

    def _find(self, hashed: bytes) -> _Known:
        def find() -> keys_sql.Holder | None:
            with self._database.connection() as connection:
                return keys_sql.find_holder(connection, hashed)

        holder = self._database.again(find)
        # The lookup is by hash, so its duration reveals nothing about a key. Only an exactly equal hash is a match.
        if holder is None or not hmac.compare_digest(holder.hash, hashed):
            raise errors.InvalidKey("Incorrect API key provided.")
        known = _known(holder)
        with self._lock:
            self._cache[hashed] = known
        return known

    def create(
        self,
        given: Collection[str] = (),
        project: str = DEFAULT_PROJECT,
        *,
        also: Collection[str] = (),
        name: str | None = None,
        by: Actor | None = None,
    ) -> str:
        """Create a key for a project, and the project itself if it does not exist.

        Args:
            given: the rights of the key; if empty, or `no-limit` alone, the default rights are added.
            project: the name of the key's own project.
            also: names of further projects to which the key has access.
            name: the name of the key in lists.
            by: the author of the change; the operator if None.

        Returns:
            The key. It is not stored and cannot be shown again.

        Raises:
            errors.NotFound: a further project does not exist. Nothing is written.
            errors.InvalidRequest: the name of the project or of the key is invalid. Nothing is written.
        """
        secret = new_secret()
        with self._database.transaction() as connection:
            by = by or audit.operator()
            own = _ensure_project(connection, project, by)
            others = [_project(connection, other).id for other in also]
            make(
                connection, secret, own, rights.complete(given), by=by, name=name, also=[o for o in others if o != own]
            )
        return secret

    def register(self, secret: str, given: Collection[str] = (), project: str = DEFAULT_PROJECT) -> None:
        """Store `secret` as a key of a project. If it exists, set its rights; a revoked key remains revoked."""
        by = audit.operator()
        wanted = rights.complete(given)
        with self._database.transaction() as connection:
            found = keys_sql.find_by_hash(connection, _hash(secret))
            if found is None:
                make(connection, secret, _ensure_project(connection, project, by), wanted, by=by)
            elif frozenset(found.rights) != wanted:
                keys_sql.set_rights(connection, found.id, wanted)
                log.insert(connection, Act(by, "key.changed", found.id, {"rights": sorted(wanted)}), found.project_id)

    def project(self, name: str) -> str:
        """Return the ID of the project called `name`.

        Raises:
            errors.NotFound: there is no such project; a project is created together with its first key.
        """
        with self._database.connection() as connection:
            return _project(connection, name).id

    def listed(self, project: str | None = None) -> list[Listed]:
        """Return all keys, or those of the project with this name, without their secrets.

        Raises:
            errors.NotFound: there is no such project.
        """
        with self._database.connection() as connection:
            return keys_sql.listed(connection, None if project is None else _project(connection, project).id)

    def rotate(self, key_id: str, *, by: Actor | None = None) -> str:
        """Replace the secret of a key; its ID, projects and rights stay the same.

        Every process rejects the old secret once its cached keys have expired.

        Returns:
            The new key. It is not stored and cannot be shown again.

        Raises:
            errors.NotFound: there is no such key.
            errors.InvalidRequest: the key is revoked.
        """
        secret = new_secret()
        with self._database.transaction() as connection:
            keys_sql.lock(connection, key_id)
            found = keys_sql.find(connection, key_id)
            if found is None:
                raise errors.NotFound(f"There is no key '{key_id}'.")
            if found.revoked_at is not None:
                raise errors.InvalidRequest(f"The key '{key_id}' is revoked: create a new one.")
            replace(connection, found, secret, by=by or audit.operator())
        return secret

    def revoke(self, key_id: str, *, by: Actor | None = None) -> None:
        """Revoke a key permanently; do nothing if it is already revoked.

        Raises:
            errors.NotFound: there is no such key.
        """
        with self._database.transaction() as connection:
            keys_sql.lock(connection, key_id)
            found = keys_sql.find(connection, key_id)
            if found is None:
                raise errors.NotFound(f"There is no key '{key_id}'.")
            if found.revoked_at is None:
                withdraw(connection, found, by=by or audit.operator())


def new_secret() -> str:
    """Generate a new API key."""
    return PREFIX + secrets.token_urlsafe(32)


def make(
    connection: Connection,
    secret: str,
    project_id: str,
    given: Collection[str],
    *,
    by: Actor,
    name: str | None = None,
    also: Collection[str] = (),
) -> str:
    """Store a key and its audit log entry, in the caller's transaction.

    Args:
        given: the complete rights of the key.
        also: IDs of further projects to which the key has access.

    Returns:
        The ID of the key.

    Raises:
        errors.InvalidRequest: the name is invalid.
    """
    if name is not None and not (0 < len(name) <= NAME_LIMIT and name.isprintable()):
        raise errors.InvalidRequest(f"A key name must have 1 to {NAME_LIMIT} printable characters.", param="name")
    key_id = ids.new("key")
    keys_sql.insert(
        connection, key_id, project_id, hashed=_hash(secret), hint=secret[-_HINT:], rights=given, name=name, also=also
    )
    details = {"rights": sorted(given)} | ({"also": sorted(also)} if also else {})
    log.insert(connection, Act(by, "key.created", key_id, details), project_id)
    return key_id


def replace(connection: Connection, found: Listed, secret: str, *, by: Actor) -> None:
    """Replace the secret of a key whose row is locked, and make the old secret permanently invalid."""
    hashed = keys_sql.rotate(connection, found.id, hashed=_hash(secret), hint=secret[-_HINT:])
    # Keep the old hash as a revoked key: `register`, which `backburner up` calls with a secret, would otherwise create
    # a valid key from the old secret again.
    old = ids.new("key")
    keys_sql.insert(
        connection,
        old,
        found.project_id,
        hashed=hashed,
        hint=found.hint,
        rights=found.rights,
        name=f"replaced by {found.id}",
    )
    keys_sql.revoke(connection, old)
    log.insert(connection, Act(by, "key.rotated", found.id), found.project_id)


def withdraw(connection: Connection, found: Listed, *, by: Actor) -> None:
    """Revoke a key whose row is locked."""
    keys_sql.revoke(connection, found.id)
    log.insert(connection, Act(by, "key.revoked", found.id), found.project_id)


def check_name(name: str) -> None:
    """Check that `name` is a valid project name.

    Raises:
        errors.InvalidRequest: the name is empty, too long or not printable, or looks like an ID.
    """
    if not 0 < len(name.strip()) <= len(name) <= NAME_LIMIT or not name.isprintable() or name.startswith("proj_"):
        raise errors.InvalidRequest(
            f"A project name must have 1 to {NAME_LIMIT} printable characters and must not begin with 'proj_'.",
            param="name",
        )


def add_project(connection: Connection, name: str, *, by: Actor) -> str:
    """Store a project and its audit log entry, in the caller's transaction; return the ID of the project.

    Raises:
        errors.InvalidRequest: the name is invalid, or another project has it.
    """
    check_name(name)
    project_id = ids.new("proj")
    if not projects_sql.insert(connection, project_id, name):
        raise errors.InvalidRequest(
            f"A project named '{name}' already exists.", param="name", code="project_name_taken"
        )
    log.insert(connection, Act(by, "project.created", project_id), project_id)
    return project_id


def _ensure_project(connection: Connection, name: str, by: Actor) -> str:
    found = projects_sql.find_by_name(connection, name)
    if found is not None:
        return found.id
    check_name(name)
    project_id = ids.new("proj")
    if projects_sql.insert(connection, project_id, name):
        log.insert(connection, Act(by, "project.created", project_id), project_id)
        return project_id
    return _project(connection, name).id  # created concurrently by another transaction


def _project(connection: Connection, name: str) -> projects_sql.Project:
    found = projects_sql.find_by_name(connection, name)
    if found is None:
        raise errors.NotFound(f"There is no project '{name}'.")
    return found


def _known(holder: keys_sql.Holder) -> _Known:
    pairs = list(zip(holder.project_ids, holder.project_names, strict=True))
    callers = [
        Caller(holder.key_id, project_id, name, frozenset(holder.rights), tuple(holder.project_ids))
        for project_id, name in pairs
    ]
    # Names and IDs cannot collide: `check_name` rejects names that look like IDs.
    named = {caller.project: caller for caller in callers} | {caller.project_id: caller for caller in callers}
    return _Known(callers[0], named)


def _chosen(known: _Known, asked: Mapping[str, str]) -> Caller:
    callers = [known.by_name.get(project) for project in asked.values()]
    first, param = callers[0], next(iter(asked))
    if any(caller is not first for caller in callers) or (first is None and len(set(asked.values())) > 1):
        raise errors.InvalidRequest(f"{' and '.join(asked)} name different projects.", param=param)
    if first is None:
        raise errors.NotFound(f"Project '{asked[param][:200]}' not found.", param=param, code="project_not_found")
    return first


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
