"""/v1/responses."""

from flask import Blueprint, Response, g, request
from flask.typing import ResponseReturnValue

from app import direct, parsing, query, rate_limits
from app.auth import caller
from app.endpoints import foreground, streaming
from core import errors
from core.bootstrap import Core


def blueprint(core: Core) -> Blueprint:
    """The routes of responses."""
    routes = Blueprint("responses", __name__, url_prefix="/v1/responses")
    responses = core.responses

    @routes.post("")
    def create() -> ResponseReturnValue:
        body = parsing.json_object(core.waiting.upload())
        asked = parsing.create_response(body, strict=core.settings.strict_params)
        repeat = parsing.repeat(body)
        if asked.stream:
            return streaming.create(core, caller(), asked, repeat)
        if asked.background:
            created = core.creation.create(caller(), asked, repeat)
            rate_limits.note(created.allowance)
            return _json(created.document or responses.get(caller(), created.id)[0])
        place = core.waiting.place()
        try:
            created = core.creation.create(caller(), asked, repeat)
        except BaseException:
            place.leave()
            raise
        rate_limits.note(created.allowance)
        return foreground.answer(core.waiting, place, created, stored=asked.store, repeatable=repeat is not None)

    @routes.get("/<response_id>")
    def get(response_id: str) -> ResponseReturnValue:
        if request.query_string:  # most polls ask for nothing, and to find that out five times costs
            query.include()
            query.check_obfuscation()
            after = query.starting_after()
            if query.stream():
                return streaming.read(core, caller(), response_id, after)
        return _poll(core, response_id)

    @routes.delete("/<response_id>")
    def delete(response_id: str) -> ResponseReturnValue:
        responses.delete(caller(), response_id, request_id=g.request_id)
        return {"id": response_id, "object": "response", "deleted": True}

    @routes.post("/<response_id>/cancel")
    def cancel(response_id: str) -> ResponseReturnValue:
        return _json(responses.cancel(caller(), response_id, request_id=g.request_id))

    return routes


def _poll(core: Core, response_id: str) -> ResponseReturnValue:
    document, ended = core.responses.get(caller(), response_id)
    waited_s = None if ended else query.wait_s()
    waited = waited_s is not None and _wait(core, response_id, waited_s)
    if waited:
        document, ended = core.responses.get(caller(), response_id)
    body, headers = direct.polled(document, ended=ended)
    answer = Response(body, headers=headers)
    if waited:
        answer.headers["Preference-Applied"] = f"wait={waited_s}"
    condition = request.headers.get("If-None-Match")
    if condition is None:
        return answer
    # No other condition has a meaning here; left to itself, Flask would answer If-Match with 412 and a document.
    return answer.make_conditional({"REQUEST_METHOD": request.method, "HTTP_IF_NONE_MATCH": condition})


def _wait(core: Core, response_id: str, for_s: float) -> bool:
    """Whether there was a place to wait in; without one the client polls."""
    try:
        place = core.waiting.place()
    except (errors.Busy, errors.Stopping):
        return False
    try:
        place.wait(response_id, for_s)
    finally:
        place.leave()
    return True


def _json(document: str) -> Response:
    return Response(document, mimetype="application/json")
