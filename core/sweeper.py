"""The sweeper process: a round of `Sweep` every second, until it is told to stop."""

import logging
import signal
import threading

from core import errors, log
from core.bootstrap import open_core
from core.settings import Settings
from core.sweep import Sweep

logger = logging.getLogger(__name__)


def run(settings: Settings) -> None:
    """Sweep until SIGTERM or SIGINT.

    Raises:
        errors.SchemaMismatch: the database is not for this program.
        errors.StoreUnavailable: Postgres is away at the start; later it is waited for.
    """
    log.configure(settings.log_level)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with open_core(settings) as core:
        core.schema.check()
        logger.info("sweeping", extra={"every_s": settings.sweep_every_s})
        away = False
        while not stop.wait(settings.sweep_every_s):
            away = _round(core.sweep, away)
    logger.info("stopped")


def _round(sweep: Sweep, was_away: bool) -> bool:
    """Sweep once; whether Postgres is away, which is said once."""
    try:
        sweep.run()
    except errors.StoreUnavailable as error:
        if not was_away:
            logger.warning("cannot sweep", extra={"cause": str(error)})
        return True
    except Exception:  # the next round may do better, and nobody else does this work
        logger.exception("a round failed")
        return was_away
    if was_away:
        logger.info("sweeping again")
    return False
