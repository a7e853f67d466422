"""A bare Flask application on granian with the settings of the API: measures the cost of HTTP.

Usage: `python -m bench.floors.web PORT`.
"""

import math
import sys

from flask import Flask, request
from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings

from app.serve import HEADER_BUFFER_BYTES, HEADER_TIMEOUT_MS
from core.settings import Settings, load

_EXIT_GRACE_S = 5

app = Flask("floor", static_folder=None)


@app.get("/")
def hello() -> str:
    return "Hello, world!"


@app.post("/")
def parse_body() -> dict[str, str]:
    """Parse the body, as every route that accepts JSON must."""
    return {"model": request.get_json()["model"]}


def main(settings: Settings) -> None:
    """Serve with the same granian options as `app/serve.py`; a test checks that they are equal."""
    Granian(
        "bench.floors.web:app",
        address=settings.host,
        port=settings.port,
        interface=Interfaces.WSGI,
        http=HTTPModes.http1,
        workers=settings.api_processes,
        blocking_threads=settings.api_threads,
        respawn_failed_workers=True,
        workers_kill_timeout=max(1, math.ceil(settings.drain_s) + _EXIT_GRACE_S),
        log_enabled=False,
        websockets=False,
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_TIMEOUT_MS, max_buffer_size=HEADER_BUFFER_BYTES),
    ).serve()


if __name__ == "__main__":
    main(load().model_copy(update={"host": "127.0.0.1", "port": int(sys.argv[1])}))
