"""The schema: tables, columns, constraints and indexes. The *_sql modules of the capabilities read and write rows."""

from core.tables import projects, responses, running
from core.tables.base import metadata

__all__ = ["metadata", "projects", "responses", "running"]
