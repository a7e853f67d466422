"""The sweeper process, which runs `Sweep` once per interval (`sweep_every_s`) until it is stopped."""

import logging
import signal
import threading
import time

from core import errors, log
from core.bootstrap import open_core
from core.config import reload_signal
from core.health import Health, serve_health
from core.maintenance.sweep import Sweep
from core.settings import PREFIX, Settings

logger = logging.getLogger(__name__)

# The sweeper reports that it is unhealthy, and is then restarted, after this time without a successful sweep. Sweeps
# that fail because Postgres is unavailable are ignored: a restart would not help.
UNHEALTHY_AFTER_S = 120.0


class Sweeper:
    """Runs sweeps in a loop and reports the health of the loop."""

    def __init__(self, sweep: Sweep, settings: Settings, *, unhealthy_after_s: float = UNHEALTHY_AFTER_S) -> None:
        self._sweep = sweep
        self._unhealthy_after_s = unhealthy_after_s
        self._interval_s = settings.sweep_every_s
        self._healthy_at = time.monotonic()  # when a sweep last succeeded, or failed only because of Postgres
        self._swept_at: float | None = None  # when a sweep last succeeded
        self._is_postgres_unavailable = False

    def run(self, stop: threading.Event) -> None:
        """Sweep until `stop` is set; a sweep in progress is finished first."""
        while not stop.wait(self._interval_s):
            self._sweep_once()

    def health(self) -> Health:
        """Health of the loop; thread-safe."""
        now = time.monotonic()
        problems = []
        if now - self._healthy_at > self._unhealthy_after_s:
            problems.append(f"no sweep succeeded for {now - self._healthy_at:.0f} s")
        for chore, age_s in self._sweep.stale_chores(self._unhealthy_after_s).items():
            problems.append(f"the chore `{chore}` has not succeeded for {age_s:.0f} s")
        swept_at = self._swept_at
        details: dict[str, object] = {
            "postgres": "unreachable" if self._is_postgres_unavailable else "ok",
            "swept_s_ago": None if swept_at is None else round(now - swept_at, 1),
        }
        return Health(problems, swept_at is not None and not self._is_postgres_unavailable and not problems, details)

    def _sweep_once(self) -> None:
        """Sweep once; if Postgres is unavailable repeatedly, log only the first failure."""
        try:
            self._sweep.run()
        except errors.StoreUnavailable as error:
            if not self._is_postgres_unavailable:
                logger.warning("cannot sweep", extra={"cause": str(error)})
            self._is_postgres_unavailable = True
            self._healthy_at = time.monotonic()
        except Exception:  # the next sweep may succeed, and no other process sweeps
            logger.exception("sweep failed")
        else:
            if self._is_postgres_unavailable:
                logger.info("sweeping again")
            self._is_postgres_unavailable = False
            self._healthy_at = self._swept_at = time.monotonic()


def run_sweeper(settings: Settings) -> None:
    """Sweep until SIGTERM or SIGINT; after SIGHUP, read the configuration file again.

    SIGHUP must be blocked before this function is called; see `reload_signal.block`.

    Raises:
        errors.BadSettings: a setting is missing or invalid.
        errors.SchemaMismatch: this program cannot run on the schema of the database.
        errors.StoreUnavailable: Postgres is unavailable at startup. After startup, failed sweeps are repeated.
    """
    log.configure(settings.log_level)
    stop = threading.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, lambda *_: stop.set())
    with open_core(settings) as core:
        core.schema.check()
        sweeper = Sweeper(core.sweep, settings)
        variable = f"{PREFIX}SWEEPER_HEALTH_PORT"
        reload_signal.start_receiver(core.live_catalog.reload)
        with serve_health(
            settings.host,
            settings.sweeper_health_port,
            lambda: core.live_catalog.extend_health(sweeper.health()),
            variable=variable,
        ):
            logger.info("sweeping", extra={"every_s": settings.sweep_every_s})
            sweeper.run(stop)
    logger.info("stopped")
