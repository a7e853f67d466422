"""Context manager with which commands open the core."""

from collections.abc import Iterator
from contextlib import contextmanager

from core import settings
from core.bootstrap import Core, open_core


@contextmanager
def open_checked_core() -> Iterator[Core]:
    """Open the core with the settings of this environment, and check the schema of its database.

    Raises:
        errors.BadSettings: a setting is missing or invalid.
        errors.SchemaMismatch: this program cannot run on the schema of the database.
        errors.StoreUnavailable: Postgres cannot be reached.
    """
    with open_core(settings.load()) as core:
        core.schema.check()
        yield core
