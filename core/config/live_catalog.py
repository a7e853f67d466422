"""The configuration of a running process, which operators can change without a restart."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from core import errors
from core.config import catalog
from core.config.catalog import Catalog
from core.config.catalog_changes import describe_changes
from core.health import Health

log = logging.getLogger(__name__)

Subscriber = Callable[[Catalog], object]


class LiveCatalog:
    """Holds the current configuration, and replaces it as a whole when its file is read again.

    A request or a run reads `current` once and uses this catalog to its end; a catalog never changes.

    Args:
        path: the configuration file; None for `backburner.toml` in the current folder.
        current: the configuration with which the process starts.

    Attributes:
        current: the configuration for new requests and runs.
        has_failed: whether the file was invalid when it was last read, so that the process uses an older version of it.
    """

    def __init__(self, path: Path | None, current: Catalog) -> None:
        self._path = path or catalog.DEFAULT_PATH
        self._subscribers: list[Subscriber] = []
        self.current = current
        self.has_failed = False

    def subscribe(self, function: Subscriber) -> None:
        """Call a function with the new catalog after each successful reload, in the order of the subscriptions.

        The function is called in the thread that reloads. An exception in it is logged.
        """
        self._subscribers.append(function)

    def reload(self) -> None:
        """Read the file again and replace the current catalog; if the file is not usable, log why and keep the catalog.

        Only one thread may call this method.
        """
        old_catalog = self.current
        try:
            new_catalog = catalog.load(self._path)
            self._check_replaceable(old_catalog, new_catalog)
        except errors.BadSettings as error:
            self._record_failure(error)
            return
        self.current = new_catalog
        self.has_failed = False
        log.info(
            "configuration reloaded", extra={"path": str(self._path), **describe_changes(old_catalog, new_catalog)}
        )
        for function in self._subscribers:
            _notify(function, new_catalog)

    def _record_failure(self, error: errors.BadSettings) -> None:
        self.has_failed = True
        log.error("configuration not reloaded", extra={"cause": str(error)})

    @property
    def state(self) -> str:
        """The result of the last reload for health endpoints: `ok` or `not reloaded`."""
        return "not reloaded" if self.has_failed else "ok"

    def extend_health(self, health: Health) -> Health:
        """Add the state to the details, but not to the problems, because a restart would not repair an invalid file."""
        return replace(health, details=health.details | {"configuration": self.state})

    def _check_replaceable(self, old_catalog: Catalog, new_catalog: Catalog) -> None:
        """Check that a running process can use a new catalog.

        Raises:
            errors.BadSettings: the new catalog changes the lanes, or defines no model although the old one does.
        """
        if new_catalog.lanes.by_tier != old_catalog.lanes.by_tier:
            raise errors.BadSettings(
                f"The configuration {self._path}: lanes: the lanes of tiers cannot change without a restart of all"
                " parts, because workers subscribe to the queues of their lanes when they start."
            )
        if old_catalog.models and not new_catalog.models:
            raise errors.BadSettings(
                f"The configuration {self._path}: models: the file defines no model, perhaps because it was still being"
                " written. Restart the parts to remove all models."
            )


def _notify(function: Subscriber, new_catalog: Catalog) -> None:
    try:
        function(new_catalog)
    except Exception:  # a bug in one subscriber must not affect the others
        log.exception("cannot apply the configuration")
