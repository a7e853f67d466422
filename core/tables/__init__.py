"""The database schema: tables, columns, constraints and indexes. The *_sql modules of each folder access the rows."""

from core.tables import projects, responses, running
from core.tables.base import metadata

__all__ = ["metadata", "projects", "responses", "running"]
