"""Management of projects and their keys, by operators and over HTTP by keys with the right `admin`."""

from collections.abc import Collection
from typing import Any

from core import errors, ids, jsonio
from core.database import Connection, Database
from core.tenants import audit, keys
from core.tenants import keys_sql as key_rows
from core.tenants import projects_sql as store
from core.tenants.audit import Actor
from core.tenants.keys import Caller
from core.tenants.project_requests import CreateKey, CreateProject
from core.tenants.projects_sql import Project
from core.tenants.rights import USUAL, Right
from core.wire.pages import Page, build_page

__all__ = ["Project", "Projects"]


class Projects:
    """Manages projects and the keys that belong to them. Documents are JSON text.

    A caller sees only the projects to which its key has access. It cannot grant rights that its own key lacks, except
    read, write, cancel and admin in those projects.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, name: str) -> str:
        """Create a project as the operator and return its ID.

        Raises:
            errors.InvalidRequest: the name is invalid, or another project has it. Nothing is written.
        """
        with self._database.transaction() as connection:
            return keys.add_project(connection, name, by=audit.operator())

    def all(self) -> list[Project]:
        """Return all projects, oldest first."""
        with self._database.connection() as connection:
            return store.listed(connection)

    def find(self, name_or_id: str) -> Project:
        """Return a project by its name or its ID.

        Raises:
            errors.NotFound: there is no such project.
        """
        with self._database.connection() as connection:
            found = store.find_by_name(connection, name_or_id) or store.find(connection, name_or_id)
        if found is None:
            raise errors.NotFound(f"There is no project '{name_or_id}'.")
        return found

    def create(self, caller: Caller, asked: CreateProject, by: Actor) -> str:
        """Create a project, grant the caller's key access to it, and return its document.

        Raises:
            errors.Forbidden: the caller's key does not belong to the project `default`. Nothing is written.
            errors.InvalidRequest: another project has this name. Nothing is written.
            errors.StoreUnavailable: it is unknown whether the project was written; if so, its name is in use.
        """
        with self._database.transaction() as connection:
            own = store.find(connection, caller.projects[0])
            if own is None or own.name != keys.DEFAULT_PROJECT:
                raise errors.Forbidden(f"Only keys of the project '{keys.DEFAULT_PROJECT}' may create projects.")
            project_id = keys.add_project(connection, asked.name, by=by)
            key_rows.allow(connection, caller.key_id, project_id)
            return _document(_existing(connection, project_id))

    def listed(self, caller: Caller, *, limit: int, descending: bool, after: str | None = None) -> Page:
        """Return a page of the projects to which the caller's key has access, in order of creation.

        Raises:
            errors.InvalidRequest: `after` is not the ID of such a project.
        """
        with self._database.connection() as connection:
            rows = [(row.id, _document(row)) for row in store.listed(connection, list(caller.projects))]
        return _paged(rows, "Project", limit=limit, descending=descending, after=after)

    def get(self, caller: Caller, project_id: str) -> str:
        """Return a project's document.

        Raises:
            errors.NotFound: the project does not exist, or the caller's key has no access to it.
        """
        _own(caller, project_id)
        with self._database.connection() as connection:
            return _document(_existing(connection, project_id))

    def create_key(self, caller: Caller, project_id: str, asked: CreateKey, by: Actor) -> str:
        """Create a key of a project and return its document, which contains the key itself only this once.

        Raises:
            errors.NotFound: the project does not exist, or the caller's key has no access to it.
            errors.Forbidden: the caller may not grant one of the rights. Nothing is written.
            errors.StoreUnavailable: it is unknown whether the key was written; its secret is lost in either case.
        """
        _own(caller, project_id)
        given = frozenset(asked.rights) if asked.rights else USUAL
        _refuse_more(caller, given)
        secret = keys.new_secret()
        with self._database.transaction() as connection:
            key_id = keys.make(connection, secret, project_id, given, by=by, name=asked.name)
            return _shown_once(_key(connection, caller, project_id, key_id), secret)

    def listed_keys(
        self, caller: Caller, project_id: str, *, limit: int, descending: bool, after: str | None = None
    ) -> Page:
        """Return a page of the keys of a project that are not revoked, in order of creation.

        Raises:
            errors.NotFound: the project does not exist, or the caller's key has no access to it.
            errors.InvalidRequest: `after` is not the ID of such a key.
        """
        _own(caller, project_id)
        with self._database.connection() as connection:
            found = [row for row in key_rows.listed(connection, project_id) if row.revoked_at is None]
        rows = [(row.id, jsonio.dumps(_described(row))) for row in found]
        return _paged(rows, "Key", limit=limit, descending=descending, after=after)

    def get_key(self, caller: Caller, project_id: str, key_id: str) -> str:
        """Return a key's document.

        Raises:
            errors.NotFound: the caller's key has no access to the project, or the project has no such key.
        """
        with self._database.connection() as connection:
            return jsonio.dumps(_described(_key(connection, caller, project_id, key_id)))

    def rotate_key(self, caller: Caller, project_id: str, key_id: str, by: Actor) -> str:
        """Replace the secret of a key and return its document, which contains the new key only this once.

        Raises:
            errors.NotFound: the caller's key has no access to the project, or the project has no such key.
            errors.Forbidden: the key has rights or projects that the caller's key lacks. Nothing is written.
            errors.StoreUnavailable: it is unknown whether the new secret was written; rotate the key again to get a
                known one.
        """
        secret = keys.new_secret()
        with self._database.transaction() as connection:
            found = _locked_key(connection, caller, project_id, key_id)
            _refuse_more(caller, found.rights)
            if not set(found.also_ids) <= set(caller.projects):
                raise errors.Forbidden(
                    "This key may not rotate a key that has access to projects which this key cannot access."
                )
            keys.replace(connection, found, secret, by=by)
            return _shown_once(_key(connection, caller, project_id, key_id), secret)

    def revoke_key(self, caller: Caller, project_id: str, key_id: str, by: Actor) -> None:
        """Revoke a key permanently.

        Raises:
            errors.NotFound: the caller's key has no access to the project, or the project has no such key.
            errors.StoreUnavailable: it is unknown whether the key was revoked; a retry is safe.
        """
        with self._database.transaction() as connection:
            keys.withdraw(connection, _locked_key(connection, caller, project_id, key_id), by=by)


def _own(caller: Caller, project_id: str) -> None:
    if project_id not in caller.projects:
        raise errors.NotFound(f"Project with id '{project_id[:200]}' not found.", param="project_id")


def _existing(connection: Connection, project_id: str) -> Project:
    found = store.find(connection, project_id)
    assert found is not None  # projects are never deleted
    return found


def _key(connection: Connection, caller: Caller, project_id: str, key_id: str) -> key_rows.Listed:
    _own(caller, project_id)
    found = key_rows.find(connection, key_id) if ids.is_key_id(key_id) else None
    if found is None or found.project_id != project_id or found.revoked_at is not None:
        raise errors.NotFound(f"Key with id '{key_id[:200]}' not found.", param="key_id")
    return found


def _locked_key(connection: Connection, caller: Caller, project_id: str, key_id: str) -> key_rows.Listed:
    found = _key(connection, caller, project_id, key_id)
    key_rows.lock(connection, found.id)
    return _key(connection, caller, project_id, key_id)  # the row may have changed before the lock was granted


def _refuse_more(caller: Caller, given: Collection[str]) -> None:
    """Reject rights that the caller may not grant.

    An admin key may grant read, write, cancel and admin, and any other right only if it has that right itself.
    """
    more = sorted(set(given) - USUAL - {Right.ADMIN} - set(caller.rights))
    if more:
        raise errors.Forbidden(f"This key may not grant the right '{more[0]}', which it does not have.", param="rights")


def _paged(rows: list[tuple[str, str]], what: str, *, limit: int, descending: bool, after: str | None) -> Page:
    if descending:
        rows.reverse()
    if after is not None:
        places = [place for place, (found, _) in enumerate(rows) if found == after]
        if not places:
            raise errors.InvalidRequest(f"{what} with id '{after[:200]}' not found.", param="after")
        rows = rows[places[0] + 1 :]
    return build_page(rows[:limit], has_more=len(rows) > limit)


def _document(row: Project) -> str:
    return jsonio.dumps(
        {"id": row.id, "object": "project", "name": row.name, "created_at": int(row.created_at.timestamp())}
    )


def _described(row: key_rows.Listed) -> dict[str, Any]:
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


def _shown_once(row: key_rows.Listed, secret: str) -> str:
    return jsonio.dumps(_described(row) | {"key": secret})
