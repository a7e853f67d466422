"""The sweeper process: a round of `Sweep` every second, until it is told to stop."""

import logging
import signal
import threading
import time

from core import errors, log
from core.bootstrap import open_core
from core.health import Health, served
from core.maintenance.sweep import Sweep
from core.settings import PREFIX, Settings

logger = logging.getLogger(__name__)

# Without a round that went as it should for so long, the sweeper wants a restart. Postgres being away is no such
# round's fault.
UNHEALTHY_AFTER_S = 120.0


class Sweeper:
    """Sweeps round after round, and knows how that goes."""

    def __init__(self, sweep: Sweep, settings: Settings, *, unhealthy_after_s: float = UNHEALTHY_AFTER_S) -> None:
        self._sweep = sweep
        self._unhealthy_after_s = unhealthy_after_s
        self._every_s = settings.sweep_every_s
        self._well_at = time.monotonic()
        self._done_at: float | None = None
        self._unavailable = False

    def run(self, stop: threading.Event) -> None:
        """Sweep until told to stop; the round under way is finished."""
        while not stop.wait(self._every_s):
            self._round()

    def health(self) -> Health:
        """How it does; may be asked in any thread."""
        now = time.monotonic()
        problems = []
        if now - self._well_at > self._unhealthy_after_s:
            problems.append(f"no round went as it should for {now - self._well_at:.0f} s")
        done_at = self._done_at
        details: dict[str, object] = {
            "postgres": "unreachable" if self._unavailable else "ok",
            "swept_s_ago": None if done_at is None else round(now - done_at, 1),
        }
        return Health(problems, done_at is not None and not self._unavailable and not problems, details)

    def _round(self) -> None:
        """Sweep once; that Postgres is away is said once."""
        try:
            self._sweep.run()
        except errors.StoreUnavailable as error:
            if not self._unavailable:
                logger.warning("cannot sweep", extra={"cause": str(error)})
            self._unavailable = True
            self._well_at = time.monotonic()
        except Exception:  # the next round may do better, and nobody else does this work
            logger.exception("a round failed")
        else:
            if self._unavailable:
                logger.info("sweeping again")
            self._unavailable = False
            self._well_at = self._done_at = time.monotonic()


def run(settings: Settings) -> None:
    """Sweep until SIGTERM or SIGINT.

    Raises:
        errors.BadSettings: a setting is missing or wrong.
        errors.SchemaMismatch: the database is not for this program.
        errors.StoreUnavailable: Postgres is away at the start; later it is waited for.
    """
    log.configure(settings.log_level)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with open_core(settings) as core:
        core.schema.check()
        sweeper = Sweeper(core.sweep, settings)
        variable = f"{PREFIX}SWEEPER_HEALTH_PORT"
        with served(settings.host, settings.sweeper_health_port, sweeper.health, variable=variable):
            logger.info("sweeping", extra={"every_s": settings.sweep_every_s})
            sweeper.run(stop)
    logger.info("stopped")
