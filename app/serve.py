"""The API process: granian, its workers and their threads."""

import logging

from granian import Granian
from granian.constants import Interfaces

from core import log
from core.bootstrap import open_core
from core.settings import Settings

logger = logging.getLogger(__name__)


def run(settings: Settings) -> None:
    """Serve the API until SIGTERM or SIGINT.

    Raises:
        errors.BadSettings: a setting is missing or wrong.
        errors.SchemaMismatch: the database is not for this program.
        errors.StoreUnavailable: Postgres is away at the start; later it is answered with 503.
    """
    log.configure(settings.log_level)
    with open_core(settings) as core:
        core.schema.check()
    logger.info("serving", extra={"host": settings.host, "port": settings.port})
    Granian(
        "app.wsgi:app",
        address=settings.host,
        port=settings.port,
        interface=Interfaces.WSGI,
        workers=settings.api_processes,
        blocking_threads=settings.api_threads,
        respawn_failed_workers=True,
        log_enabled=False,
        websockets=False,
    ).serve()
