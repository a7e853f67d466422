"""A bare Flask application on granian with the API's settings: what HTTP itself costs.

`python -m bench.floors.web PORT`.
"""

import sys

from flask import Flask, request
from granian import Granian
from granian.constants import Interfaces

from core import settings

app = Flask("floor", static_folder=None)


@app.get("/")
def hello() -> str:
    return "Hello, world!"


@app.post("/")
def parsed() -> dict[str, str]:
    """Parse the body, as any route that takes JSON must."""
    return {"model": request.get_json()["model"]}


def main(port: int) -> None:
    """Serve as `app/serve.py` does."""
    defaults = settings.load()
    Granian(
        "bench.floors.web:app",
        address="127.0.0.1",
        port=port,
        interface=Interfaces.WSGI,
        workers=defaults.api_processes,
        blocking_threads=defaults.api_threads,
        log_enabled=False,
        websockets=False,
    ).serve()


if __name__ == "__main__":
    main(int(sys.argv[1]))
