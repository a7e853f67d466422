"""`x-request-id` on every answer, so that a client's report and a log line find each other."""

import uuid

from flask import Flask, Response, g


def install(app: Flask) -> None:
    """Give every request an ID and every answer its header."""

    @app.before_request
    def start() -> None:
        g.request_id = f"req_{uuid.uuid4().hex}"

    @app.after_request
    def name(response: Response) -> Response:
        response.headers["x-request-id"] = g.get("request_id") or f"req_{uuid.uuid4().hex}"
        return response
