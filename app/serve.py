"""The API process: granian, its workers and their threads."""

import logging
import math

from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings

from core import log
from core.bootstrap import open_core
from core.settings import Settings

logger = logging.getLogger(__name__)

# A process that has used up its time to drain leaves by itself.
_LEAVES_S = 5
# Who is slower in saying what it wants, or says more of it, is not served: the connection costs nothing else so long.
HEADERS_MS = 10_000
HEADERS_BYTES = 64 * 1024


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
        # A reader by HTTP/2 may take nothing on a connection that is alive: it could not be found and dropped.
        http=HTTPModes.http1,
        workers=settings.api_processes,
        blocking_threads=settings.api_threads,
        respawn_failed_workers=True,
        # Streams end at the signal; who waits for a whole answer is given as long as a worker gives it.
        workers_kill_timeout=max(1, math.ceil(settings.drain_s) + _LEAVES_S),
        log_enabled=False,
        websockets=False,
        http1_settings=HTTP1Settings(header_read_timeout=HEADERS_MS, max_buffer_size=HEADERS_BYTES),
    ).serve()
