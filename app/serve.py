"""Runs the API server: Granian with several processes, each with several threads."""

import contextlib
import logging
import math
import os
import signal
import socket
from collections.abc import Sequence

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server import MPServer

from core import errors, log
from core.bootstrap import open_core
from core.config import reload_signal
from core.settings import PREFIX, Settings

logger = logging.getLogger(__name__)

# Seconds that a process has to exit by itself after its drain time.
_EXIT_GRACE_S = 5
# Limits for the time in which the headers of a request must arrive, and for their size. A request occupies a thread
# only after its headers have arrived.
HEADER_TIMEOUT_MS = 10_000
MAX_HEADER_BYTES = 64 * 1024
# Granian checks this limit only before it reads more data: headers up to this size are always accepted, and longer
# headers, up to `MAX_HEADER_BYTES`, sometimes.
HEADER_BUFFER_BYTES = MAX_HEADER_BYTES // 2


def serve_api(settings: Settings) -> None:
    """Serve the API until SIGTERM or SIGINT; after SIGHUP, all processes read the configuration file again.

    The caller has blocked SIGHUP.

    Raises:
        errors.BadSettings: a setting is missing or invalid, or the address is in use.
        errors.SchemaMismatch: this program cannot run on the schema of the database.
        errors.StoreUnavailable: Postgres is unavailable at startup. Later, requests get 503 in that case.
    """
    log.configure(settings.log_level)
    _check_address(settings.host, settings.port)
    with open_core(settings) as core:
        core.schema.check()
    logger.info("serving", extra={"host": settings.host, "port": settings.port})
    server = MPServer(
        "app.wsgi:app",
        address=settings.host,
        port=settings.port,
        interface=Interfaces.WSGI,
        # With HTTP/2, a client that stops reading one stream of a working connection could not be dropped.
        http=HTTPModes.http1,
        workers=settings.api_processes,
        blocking_threads=settings.api_threads,
        respawn_failed_workers=True,
        # Streams end at the stop signal. Requests that wait for a complete answer have the drain time of workers.
        workers_kill_timeout=max(1, math.ceil(settings.drain_s) + _EXIT_GRACE_S),
        log_enabled=False,
        websockets=False,
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_TIMEOUT_MS, max_buffer_size=HEADER_BUFFER_BYTES),
    )
    # Granian's own handler of SIGHUP would replace its processes, which would end their streams.
    reload_signal.start_receiver(lambda: _forward_reload([process.inner.pid for process in server.wrks]))
    server.serve()


def _forward_reload(process_ids: Sequence[int]) -> None:
    """Send SIGHUP to the processes of the server; a process that is still starting handles it when it is ready."""
    for process_id in process_ids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process_id, signal.SIGHUP)


def _check_address(host: str, port: int) -> None:
    """Check that no other program listens on the address.

    Granian's processes share the address with SO_REUSEPORT, so a second API would get half of the connections
    unnoticed. If the other program does not share the address, Granian ends with a backtrace.

    Raises:
        errors.BadSettings: the address is in use or cannot be used.
    """
    try:
        family, socket_type, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket_type) as listener:
            # Connections of an API that has just stopped must not prevent a start.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(1)
    except OSError as error:
        raise errors.BadSettings(f"{PREFIX}PORT: cannot listen on port {port} of {host}: {error.strerror}.") from error
