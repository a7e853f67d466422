"""Management of projects and their keys, by operators and over HTTP by callers with the right `admin`."""

from collections.abc import Collection

from core import errors, ids, jsonio
from core.database import Connection, Database
from core.jsonio import JsonObject
from core.tenants import audit, key_changes, keys, keys_sql, projects_sql
from core.tenants.audit import Actor
from core.tenants.keys import Caller
from core.tenants.project_requests import CreateKey, CreateProject
from core.tenants.projects_sql import Project
from core.tenants.rights import DEFAULT_RIGHTS, Right
from core.wire.pages import Page, build_page

__all__ = ["Project", "Projects"]


class Projects:
    """Manages projects and the keys that belong to them. Documents are JSON text.

    A caller sees only the projects to which its key has access, and only keys that are not revoked. It can create and
    rotate keys with the rights read, write, cancel and admin, and with other rights that its own key has.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, name: str) -> str:
        """Create a project as the operator and return its ID.

        Raises:
            errors.InvalidRequest: the name is invalid, or another project has it. Nothing is written.
        """
        with self._database.transaction() as connection:
            return key_changes.add_project(connection, name, actor=audit.operator())

    def all(self) -> list[Project]:
        """Return all projects, oldest first."""
        with self._database.connection() as connection:
            return projects_sql.select_projects(connection)

    def find(self, name_or_id: str) -> Project:
        """Return a project by its name or its ID.

        Raises:
            errors.NotFound: there is no such project.
        """
        with self._database.connection() as connection:
            row = projects_sql.find_by_name(connection, name_or_id) or projects_sql.find(connection, name_or_id)
        if row is None:
            raise errors.NotFound(f"There is no project '{name_or_id}'.")
        return row

    def create(self, caller: Caller, request: CreateProject, actor: Actor) -> str:
        """Create a project, grant the caller's key access to it, and return its document.

        Raises:
            errors.Forbidden: the caller's key does not belong to the project `default`. Nothing is written.
            errors.InvalidRequest: another project has this name. Nothing is written.
            errors.StoreUnavailable: it is unknown whether the project was written; if so, its name is in use.
        """
        with self._database.transaction() as connection:
            own_project = projects_sql.find(connection, caller.projects[0])
            if own_project is None or own_project.name != keys.DEFAULT_PROJECT:
                raise errors.Forbidden(f"Only keys of the project '{keys.DEFAULT_PROJECT}' may create projects.")
            project_id = key_changes.add_project(connection, request.name, actor=actor)
            keys_sql.grant_access(connection, caller.key_id, project_id)
            return _document(_find_project(connection, project_id))

    def list_projects(self, caller: Caller, *, limit: int, descending: bool, after: str | None = None) -> Page:
        """Return a page of the projects to which the caller's key has access, in order of creation.

        Raises:
            errors.InvalidRequest: `after` is not the ID of such a project.
        """
        with self._database.connection() as connection:
            rows = [(row.id, _document(row)) for row in projects_sql.select_projects(connection, list(caller.projects))]
        return _build_page(rows, "Project", limit=limit, descending=descending, after=after)

    def get(self, caller: Caller, project_id: str) -> str:
        """Return a project's document.

        Raises:
            errors.NotFound: the project does not exist, or the caller's key has no access to it.
        """
        _check_access(caller, project_id)
        with self._database.connection() as connection:
            return _document(_find_project(connection, project_id))

    def create_key(self, caller: Caller, project_id: str, request: CreateKey, actor: Actor) -> str:
        """Create a key of a project and return its document, which contains the key. It cannot be shown again.

        Raises:
            errors.NotFound: the project does not exist, or the caller's key has no access to it.
            errors.Forbidden: the caller may not grant one of the rights. Nothing is written.
            errors.StoreUnavailable: it is unknown whether the key was written; its secret is lost in either case.
        """
        _check_access(caller, project_id)
        key_rights = frozenset(request.rights) if request.rights else DEFAULT_RIGHTS
        _check_grant(caller, key_rights)
        secret = keys.new_secret()
        with self._database.transaction() as connection:
            key_id = key_changes.insert_key(connection, secret, project_id, key_rights, actor=actor, name=request.name)
            return _document_with_secret(_find_key(connection, caller, project_id, key_id), secret)

    def list_keys(
        self, caller: Caller, project_id: str, *, limit: int, descending: bool, after: str | None = None
    ) -> Page:
        """Return a page of the keys of a project that are not revoked, in order of creation.

        Raises:
            errors.NotFound: the project does not exist, or the caller's key has no access to it.
            errors.InvalidRequest: `after` is not the ID of such a key.
        """
        _check_access(caller, project_id)
        with self._database.connection() as connection:
            key_rows = [row for row in keys_sql.select_keys(connection, project_id) if row.revoked_at is None]
        rows = [(row.id, jsonio.dumps(_describe_key(row))) for row in key_rows]
        return _build_page(rows, "Key", limit=limit, descending=descending, after=after)

    def get_key(self, caller: Caller, project_id: str, key_id: str) -> str:
        """Return a key's document.

        Raises:
            errors.NotFound: the caller's key has no access to the project, or the project has no such key.
        """
        with self._database.connection() as connection:
            return jsonio.dumps(_describe_key(_find_key(connection, caller, project_id, key_id)))

    def rotate_key(self, caller: Caller, project_id: str, key_id: str, actor: Actor) -> str:
        """Replace the secret of a key and return its document, which contains the new key. It cannot be shown again.

        Raises:
            errors.NotFound: the caller's key has no access to the project, or the project has no such key.
            errors.Forbidden: the key has rights or projects that the caller's key lacks. Nothing is written.
            errors.StoreUnavailable: it is unknown whether the new secret was written; rotate the key again to get a
                valid one.
        """
        secret = keys.new_secret()
        with self._database.transaction() as connection:
            row = _lock_key(connection, caller, project_id, key_id)
            _check_grant(caller, row.rights)
            if not set(row.also_ids) <= set(caller.projects):
                raise errors.Forbidden(
                    "This key may not rotate a key that has access to projects which this key cannot access."
                )
            key_changes.replace_secret(connection, row, secret, actor=actor)
            return _document_with_secret(_find_key(connection, caller, project_id, key_id), secret)

    def revoke_key(self, caller: Caller, project_id: str, key_id: str, actor: Actor) -> None:
        """Revoke a key permanently.

        Raises:
            errors.NotFound: the caller's key has no access to the project, or the project has no such key.
            errors.StoreUnavailable: it is unknown whether the key was revoked; a retry is safe.
        """
        with self._database.transaction() as connection:
            key_changes.revoke_key(connection, _lock_key(connection, caller, project_id, key_id), actor=actor)


def _check_access(caller: Caller, project_id: str) -> None:
    if project_id not in caller.projects:
        raise errors.NotFound(f"Project with id '{project_id[:200]}' not found.", param="project_id")


def _find_project(connection: Connection, project_id: str) -> Project:
    row = projects_sql.find(connection, project_id)
    assert row is not None  # projects are never deleted
    return row


def _find_key(connection: Connection, caller: Caller, project_id: str, key_id: str) -> keys_sql.KeyDetails:
    _check_access(caller, project_id)
    row = keys_sql.find(connection, key_id) if ids.is_key_id(key_id) else None
    if row is None or row.project_id != project_id or row.revoked_at is not None:
        raise errors.NotFound(f"Key with id '{key_id[:200]}' not found.", param="key_id")
    return row


def _lock_key(connection: Connection, caller: Caller, project_id: str, key_id: str) -> keys_sql.KeyDetails:
    row = _find_key(connection, caller, project_id, key_id)
    keys_sql.lock(connection, row.id)
    return _find_key(connection, caller, project_id, key_id)  # the row may have changed before the lock was granted


def _check_grant(caller: Caller, key_rights: Collection[str]) -> None:
    """Reject rights that the caller may not grant.

    An admin key may grant read, write, cancel, admin, and other rights that it has itself.
    """
    forbidden_rights = sorted(set(key_rights) - DEFAULT_RIGHTS - {Right.ADMIN} - set(caller.rights))
    if forbidden_rights:
        raise errors.Forbidden(
            f"This key may not grant the right '{forbidden_rights[0]}', which it does not have.", param="rights"
        )


def _build_page(rows: list[tuple[str, str]], kind: str, *, limit: int, descending: bool, after: str | None) -> Page:
    if descending:
        rows.reverse()
    if after is not None:
        positions = [position for position, (row_id, _) in enumerate(rows) if row_id == after]
        if not positions:
            raise errors.InvalidRequest(f"{kind} with id '{after[:200]}' not found.", param="after")
        rows = rows[positions[0] + 1 :]
    return build_page(rows[:limit], has_more=len(rows) > limit)


def _document(row: Project) -> str:
    return jsonio.dumps(
        {"id": row.id, "object": "project", "name": row.name, "created_at": int(row.created_at.timestamp())}
    )


def _describe_key(row: keys_sql.KeyDetails) -> JsonObject:
    return {
        "id": row.id,
        "object": "project.api_key",
        "project_id": row.project_id,
        "name": row.name,
        "hint": row.hint,
        "rights": row.rights,
        "created_at": int(row.created_at.timestamp()),
        "rotated_at": None if row.rotated_at is None else int(row.rotated_at.timestamp()),
    }


def _document_with_secret(row: keys_sql.KeyDetails, secret: str) -> str:
    return jsonio.dumps(_describe_key(row) | {"key": secret})
