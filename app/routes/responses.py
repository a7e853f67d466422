"""/v1/responses."""

from flask import Blueprint, Response
from flask.typing import ResponseReturnValue

from app import parsing
from app.auth import caller
from core.responses import Responses

# How long a client does well to wait between two polls; SDKs that know the header honour it.
POLL_AFTER_MS = "1000"


def blueprint(responses: Responses) -> Blueprint:
    """The routes of responses."""
    routes = Blueprint("responses", __name__, url_prefix="/v1/responses")

    @routes.post("")
    def create() -> ResponseReturnValue:
        return _json(responses.create(caller(), parsing.create_response()))

    @routes.get("/<response_id>")
    def get(response_id: str) -> ResponseReturnValue:
        parsing.refuse_streaming()
        document, ended = responses.get(caller(), response_id)
        answer = _json(document)
        if not ended:
            answer.headers["openai-poll-after-ms"] = POLL_AFTER_MS
        return answer

    @routes.post("/<response_id>/cancel")
    def cancel(response_id: str) -> ResponseReturnValue:
        return _json(responses.cancel(caller(), response_id))

    return routes


def _json(document: str) -> Response:
    return Response(document, mimetype="application/json")
