"""The schema: tables, columns, constraints and indexes. Rows are read and written in core/store."""

from core.tables import projects, responses, running
from core.tables.base import metadata

__all__ = ["metadata", "projects", "responses", "running"]
