"""API keys: made, known, replaced, revoked. Only their hashes are stored."""

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
    """A key, by what may be said to choose among its projects: their IDs and names."""

    own: Caller
    by_name: Mapping[str, Caller]


class Keys:
    """Tells who a key speaks for. A revoked key is refused everywhere within `cache_s` seconds."""

    def __init__(self, database: Database, *, cache_s: float) -> None:
        self._database = database
        self._cache: TTLCache[bytes, _Known] = TTLCache(_CACHED, cache_s)
        self._lock = threading.Lock()

    def caller(self, secret: str, asked: Mapping[str, str] = _NOWHERE) -> Caller:
        """Who `secret` speaks for.

        Args:
            asked: the project it is to speak for, by ID or name, under the parameter that says so; where there is
                none, its own.

        Raises:
            errors.InvalidKey: it is unknown or revoked.
            errors.NotFound: it may not use the project, or there is none such: the two look the same.
            errors.InvalidRequest: two parameters name different projects.
            errors.StoreUnavailable: Postgres could not be asked.
        """
        hashed = _hash(secret)
        with self._lock:
            known = self._cache.get(hashed)
        if known is None:
            known = self._find(hashed)
        if not asked:
            return known.own
        if any(project not in known.by_name for project in asked.values()):
            known = self._find(hashed)  # it may have been given the project this moment
        return _chosen(known, asked)

    def _find(self, hashed: bytes) -> _Known:
        def find() -> keys_sql.Holder | None:
            with self._database.connection() as connection:
                return keys_sql.find_holder(connection, hashed)

        holder = self._database.again(find)
        # The look-up is by hash, so its time tells nothing of a key; and what is not this very hash is no match.
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
        """Make a key for a project, which is created if need be; the key, which is not kept anywhere.

        Args:
            given: its rights; none, or `no-limit` alone, means the usual ones, too.
            also: names of further projects that it may use.
            by: who makes it; an operator where nobody is said.

        Raises:
            errors.NotFound: there is no such further project. Nothing is written.
            errors.InvalidRequest: the project has no name that can be one. Nothing is written.
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
        """Make `secret` a key of a project; if it is one already, it gets these rights. A revoked one stays so."""
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
        """The ID of the project called `name`.

        Raises:
            errors.NotFound: there is none; a project is made with its first key.
        """
        with self._database.connection() as connection:
            return _project(connection, name).id

    def listed(self, project: str | None = None) -> list[Listed]:
        """All keys, or those of the project with this name, without the keys themselves.

        Raises:
            errors.NotFound: there is no such project.
        """
        with self._database.connection() as connection:
            return keys_sql.listed(connection, None if project is None else _project(connection, project).id)

    def rotate(self, key_id: str, *, by: Actor | None = None) -> str:
        """Replace a key by a new one with the same ID, projects and rights; the new one, which is not kept anywhere.

        The old one is refused everywhere within the time that keys are cached.

        Raises:
            errors.NotFound: there is no such key.
            errors.InvalidRequest: it is revoked.
        """
        secret = new_secret()
        with self._database.transaction() as connection:
            keys_sql.lock(connection, key_id)
            found = keys_sql.find(connection, key_id)
            if found is None:
                raise errors.NotFound(f"There is no key '{key_id}'.")
            if found.revoked_at is not None:
                raise errors.InvalidRequest(f"The key '{key_id}' is revoked: make a new one.")
            replace(connection, found, secret, by=by or audit.operator())
        return secret

    def revoke(self, key_id: str, *, by: Actor | None = None) -> None:
        """Make a key useless, for good; one that is revoked already stays as it is.

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
    """A key that nobody has."""
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
    """Write a key and who made it; its ID.

    Raises:
        errors.InvalidRequest: it cannot be called so.
    """
    if name is not None and not (0 < len(name) <= NAME_LIMIT and name.isprintable()):
        raise errors.InvalidRequest(f"The name of a key has 1 to {NAME_LIMIT} printable characters.", param="name")
    key_id = ids.new("key")
    keys_sql.insert(
        connection, key_id, project_id, hashed=_hash(secret), hint=secret[-_HINT:], rights=given, name=name, also=also
    )
    details = {"rights": sorted(given)} | ({"also": sorted(also)} if also else {})
    log.insert(connection, Act(by, "key.created", key_id, details), project_id)
    return key_id


def replace(connection: Connection, found: Listed, secret: str, *, by: Actor) -> None:
    """Give a locked key another secret, and let the old one never be a key again."""
    hashed = keys_sql.rotate(connection, found.id, hashed=_hash(secret), hint=secret[-_HINT:])
    # What is registered by its secret, as `backburner up` does, would else come back to life.
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
    """Revoke a locked key."""
    keys_sql.revoke(connection, found.id)
    log.insert(connection, Act(by, "key.revoked", found.id), found.project_id)


def check_name(name: str) -> None:
    """Return if a project may be called so.

    Raises:
        errors.InvalidRequest: it is empty, too long, not printable, or looks like an ID.
    """
    if not 0 < len(name.strip()) <= len(name) <= NAME_LIMIT or not name.isprintable() or name.startswith("proj_"):
        raise errors.InvalidRequest(
            f"The name of a project has 1 to {NAME_LIMIT} printable characters and does not begin with 'proj_'.",
            param="name",
        )


def add_project(connection: Connection, name: str, *, by: Actor) -> str:
    """Write a project and who made it; its ID.

    Raises:
        errors.InvalidRequest: it cannot be called so, or there is one of that name.
    """
    check_name(name)
    project_id = ids.new("proj")
    if not projects_sql.insert(connection, project_id, name):
        raise errors.InvalidRequest(
            f"There is a project named '{name}' already.", param="name", code="project_name_taken"
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
    return _project(connection, name).id  # somebody else made it meanwhile


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
    # No name looks like an ID.
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
