"""Opening everything that a command works with."""

from collections.abc import Iterator
from contextlib import contextmanager

from core import settings
from core.bootstrap import Core, open_core


@contextmanager
def opened() -> Iterator[Core]:
    """Core by the settings of this environment, for the duration of the block.

    Raises:
        errors.BadSettings: a setting is missing or invalid.
        errors.SchemaMismatch: the database has the schema of another version.
        errors.StoreUnavailable: Postgres cannot be reached.
    """
    with open_core(settings.load()) as core:
        core.schema.check()
        yield core
