"""API keys: creation, authentication, rotation and revocation. Only hashes of the keys are stored."""

import hmac
import secrets
import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from cachetools import TTLCache

from core import errors, ids
from core.database import Connection, Database
from core.tenants import audit, audit_sql, keys_sql, projects_sql, rights
from core.tenants.audit import Act, Actor
from core.tenants.key_changes import check_project_name, hash_secret, insert_key, replace_secret, revoke_key
from core.tenants.keys_sql import Caller, KeyDetails

__all__ = ["Caller", "KeyDetails", "Keys"]

PREFIX = "sk-bb-"
DEFAULT_PROJECT = "default"
_MAX_CACHED_KEYS = 10_000
_NO_PROJECTS: Mapping[str, str] = {}


@dataclass(frozen=True)
class _KeyCallers:
    """The callers of an authenticated key: one for its own project, and one for each project by ID and by name."""

    default: Caller
    by_project: Mapping[str, Caller]


class Keys:
    """Authenticates, creates, rotates and revokes API keys.

    Keys are cached for `cache_s` seconds, so every process rejects a revoked key within that time.
    """

    def __init__(self, database: Database, *, cache_s: float) -> None:
        self._database = database
        self._cache: TTLCache[bytes, _KeyCallers] = TTLCache(_MAX_CACHED_KEYS, cache_s)
        self._lock = threading.Lock()

    def caller(self, secret: str, projects: Mapping[str, str] = _NO_PROJECTS) -> Caller:
        """Authenticate a key and return the caller, with the project in which it acts.

        Args:
            secret: the API key.
            projects: the requested project by ID or name, under the name of each request parameter that selects it; if
                empty, the key's own project is used.

        Raises:
            errors.InvalidKey: the key is unknown or revoked.
            errors.NotFound: the project does not exist, or the key has no access to it; clients cannot distinguish the
                two.
            errors.InvalidRequest: two parameters name different projects.
            errors.StoreUnavailable: Postgres is unavailable.
        """
        key_hash = hash_secret(secret)
        with self._lock:
            callers = self._cache.get(key_hash)
        if callers is None:
            callers = self._find_callers(key_hash)
        if not projects:
            return callers.default
        if any(project not in callers.by_project for project in projects.values()):
            callers = self._find_callers(key_hash)  # access may have been granted after the key was cached
        return _choose_caller(callers, projects)

    def _find_callers(self, key_hash: bytes) -> _KeyCallers:
        def find_stored_key() -> keys_sql.StoredKey | None:
            with self._database.connection() as connection:
                return keys_sql.find_stored_key(connection, key_hash)

        stored_key = self._database.run_with_retry(find_stored_key)
        # The lookup is by hash, so its duration reveals nothing about a key. Only an exactly equal hash is a match.
        if stored_key is None or not hmac.compare_digest(stored_key.hash, key_hash):
            raise errors.InvalidKey("Incorrect API key provided.")
        callers = _key_callers(stored_key)
        with self._lock:
            self._cache[key_hash] = callers
        return callers

    def create(
        self,
        requested_rights: Collection[str] = (),
        project: str = DEFAULT_PROJECT,
        *,
        additional_projects: Collection[str] = (),
        name: str | None = None,
        actor: Actor | None = None,
    ) -> str:
        """Create a key for a project, and the project itself if it does not exist.

        Args:
            requested_rights: the rights of the key; if empty or only `no-limit`, the default rights are added.
            project: the name of the key's own project.
            additional_projects: names of additional projects to which the key has access.
            name: the name of the key in lists.
            actor: the author of the change; the operator if None.

        Returns:
            The key. It is not stored and cannot be shown again.

        Raises:
            errors.NotFound: an additional project does not exist. Nothing is written.
            errors.InvalidRequest: the name of the project or of the key is invalid. Nothing is written.
        """
        secret = new_secret()
        with self._database.transaction() as connection:
            actor = actor or audit.operator()
            own_id = _ensure_project(connection, project, actor)
            project_ids = [_find_project(connection, project_name).id for project_name in additional_projects]
            additional_ids = [project_id for project_id in project_ids if project_id != own_id]
            key_rights = rights.complete_rights(requested_rights)
            insert_key(connection, secret, own_id, key_rights, actor=actor, name=name, additional_ids=additional_ids)
        return secret

    def register(self, secret: str, requested_rights: Collection[str] = (), project: str = DEFAULT_PROJECT) -> None:
        """Store `secret` as a key of a project. If the key exists, set its rights; a revoked key remains revoked."""
        actor = audit.operator()
        key_rights = rights.complete_rights(requested_rights)
        with self._database.transaction() as connection:
            row = keys_sql.find_by_hash(connection, hash_secret(secret))
            if row is None:
                insert_key(connection, secret, _ensure_project(connection, project, actor), key_rights, actor=actor)
            elif frozenset(row.rights) != key_rights:
                keys_sql.set_rights(connection, row.id, key_rights)
                act = Act(actor, "key.changed", row.id, {"rights": sorted(key_rights)})
                audit_sql.insert(connection, act, row.project_id)

    def project(self, name: str) -> str:
        """Return the ID of the project called `name`.

        Raises:
            errors.NotFound: there is no such project; a project is created together with its first key.
        """
        with self._database.connection() as connection:
            return _find_project(connection, name).id

    def list_keys(self, project: str | None = None) -> list[KeyDetails]:
        """Return all keys, or the keys of the project with this name, without their secrets.

        Raises:
            errors.NotFound: there is no such project.
        """
        with self._database.connection() as connection:
            return keys_sql.select_keys(connection, None if project is None else _find_project(connection, project).id)

    def rotate(self, key_id: str, *, actor: Actor | None = None) -> str:
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
            row = keys_sql.find(connection, key_id)
            if row is None:
                raise errors.NotFound(f"There is no key '{key_id}'.")
            if row.revoked_at is not None:
                raise errors.InvalidRequest(f"The key '{key_id}' is revoked: create a new one.")
            replace_secret(connection, row, secret, actor=actor or audit.operator())
        return secret

    def revoke(self, key_id: str, *, actor: Actor | None = None) -> None:
        """Revoke a key permanently; do nothing if it is already revoked.

        Raises:
            errors.NotFound: there is no such key.
        """
        with self._database.transaction() as connection:
            keys_sql.lock(connection, key_id)
            row = keys_sql.find(connection, key_id)
            if row is None:
                raise errors.NotFound(f"There is no key '{key_id}'.")
            if row.revoked_at is None:
                revoke_key(connection, row, actor=actor or audit.operator())


def new_secret() -> str:
    """Generate a new API key."""
    return PREFIX + secrets.token_urlsafe(32)


def _ensure_project(connection: Connection, name: str, actor: Actor) -> str:
    """Return the ID of the project called `name`; create the project if it does not exist."""
    row = projects_sql.find_by_name(connection, name)
    if row is not None:
        return row.id
    check_project_name(name)
    project_id = ids.new_id("proj")
    if projects_sql.insert(connection, project_id, name):
        audit_sql.insert(connection, Act(actor, "project.created", project_id), project_id)
        return project_id
    return _find_project(connection, name).id  # created concurrently by another transaction


def _find_project(connection: Connection, name: str) -> projects_sql.Project:
    row = projects_sql.find_by_name(connection, name)
    if row is None:
        raise errors.NotFound(f"There is no project '{name}'.")
    return row


def _key_callers(stored_key: keys_sql.StoredKey) -> _KeyCallers:
    callers = [
        Caller(stored_key.key_id, project_id, name, frozenset(stored_key.rights), tuple(stored_key.project_ids))
        for project_id, name in zip(stored_key.project_ids, stored_key.project_names, strict=True)
    ]
    # Names and IDs cannot collide, because `check_project_name` rejects names that look like IDs.
    by_project = {caller.project: caller for caller in callers} | {caller.project_id: caller for caller in callers}
    return _KeyCallers(callers[0], by_project)


def _choose_caller(key_callers: _KeyCallers, projects: Mapping[str, str]) -> Caller:
    """Return the caller for the requested project; `projects` is not empty.

    The ID and the name of the same project select the same caller object.
    """
    callers = [key_callers.by_project.get(project) for project in projects.values()]
    first_caller, param = callers[0], next(iter(projects))
    has_different_callers = any(caller is not first_caller for caller in callers)
    has_different_unknown_projects = first_caller is None and len(set(projects.values())) > 1
    if has_different_callers or has_different_unknown_projects:
        raise errors.InvalidRequest(f"{' and '.join(projects)} name different projects.", param=param)
    if first_caller is None:
        raise errors.NotFound(f"Project '{projects[param][:200]}' not found.", param=param, code="project_not_found")
    return first_caller
