"""SQL of projects."""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as insert_into

from core.database import Connection
from core.tables.projects import projects
from core.tables.statement import Statement


@dataclass(frozen=True)
class Project:
    """A row of the table `projects`."""

    id: str
    name: str
    created_at: datetime


_INSERT = Statement(insert_into(projects).on_conflict_do_nothing(index_elements=["name"]).inline(), "id", "name")
_SELECT = sa.select(projects.c.id, projects.c.name, projects.c.created_at)
_FIND = Statement(_SELECT.where(projects.c.id == sa.bindparam("id")))
_FIND_BY_NAME = Statement(_SELECT.where(projects.c.name == sa.bindparam("name")))
_OLDEST_FIRST = _SELECT.order_by(projects.c.created_at, projects.c.id)
_LIST_ALL = Statement(_OLDEST_FIRST)
_LIST_BY_IDS = Statement(_OLDEST_FIRST.where(projects.c.id == sa.any_(sa.bindparam("ids", type_=ARRAY(sa.Text)))))


def insert(connection: Connection, project_id: str, name: str) -> bool:
    """Insert a project; return False, without writing, if another project has this name."""
    return _INSERT.execute(connection, id=project_id, name=name) == 1


def find(connection: Connection, project_id: str) -> Project | None:
    """Return the project with this ID; None if there is none."""
    return _FIND.fetch_one(connection, Project, id=project_id)


def find_by_name(connection: Connection, name: str) -> Project | None:
    """Return the project called `name`; None if there is none."""
    return _FIND_BY_NAME.fetch_one(connection, Project, name=name)


def select_projects(connection: Connection, ids: list[str] | None = None) -> list[Project]:
    """Return all projects, or those with these IDs, oldest first."""
    if ids is None:
        return _LIST_ALL.fetch_all(connection, Project)
    return _LIST_BY_IDS.fetch_all(connection, Project, ids=ids)
