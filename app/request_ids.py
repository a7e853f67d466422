"""`x-request-id` on every answer, so that a client's report and a log line find each other."""

import random

from flask import Flask, Response, g

HEADER = "x-request-id"


def install(app: Flask) -> None:
    """Give every request an ID and every answer its header."""
    app.before_request(start)

    @app.after_request
    def name(response: Response) -> Response:
        response.headers[HEADER] = g.get("request_id") or new()
        return response


def start() -> None:
    """Give this request its ID."""
    g.request_id = new()


def new() -> str:
    """An ID that nothing else has, and that anybody may guess.

    To ask the kernel for chance, as `uuid4` does, is to hand the interpreter to another thread in each request.
    """
    return f"req_{random.getrandbits(128):032x}"
