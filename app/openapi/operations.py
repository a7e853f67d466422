"""The routes: what each is for, takes and answers. A test holds them to the routes that there are."""

from typing import Any, get_args

from app import parsing, query
from app.docs_page import ASSETS
from app.openapi import answers
from app.openapi.schemas import REF
from core.lifecycle import Status
from core.schemas.request import Include

_Parameter = dict[str, Any]
_ALWAYS = (401, 500, 503)
_POLLED = ("ETag", "openai-poll-after-ms", "Preference-Applied")
_EXAMPLE = {"model": "smollm2-135m", "input": "Say hello.", "background": True}
_TEMPLATE = {"instructions": "Answer in {{language}}.", "variables": {"language": {"default": "French"}}}


def _in(place: str, name: str, words: str, schema: dict[str, Any], **more: Any) -> _Parameter:
    return {"name": name, "in": place, "description": words, "schema": schema, **more}


def _text(**bounds: Any) -> dict[str, Any]:
    return {"type": "string", **bounds}


_RESPONSE_ID = _in("path", "response_id", "The response's `id`.", _text(), required=True)
_LIMIT = _in(
    "query",
    "limit",
    "How many entries a page may have.",
    {"type": "integer", "minimum": 1, "maximum": query.PAGE_LIMIT, "default": query.PAGE_DEFAULT},
)
_ORDER = _in("query", "order", "By creation: newest or oldest first.", _text(enum=["asc", "desc"], default="desc"))
_AFTER = _in("query", "after", "The ID behind which the page begins: `last_id` of the page before.", _text())
_INCLUDE = _in(
    "query",
    "include[]",
    "Images in data URLs are listed among input items only where they are asked for; for the rest, items hold what the "
    "`include` of the create named.",
    {"type": "array", "items": _text(enum=sorted(get_args(Include)))},
    style="form",
    explode=True,
)
_STREAM = _in(
    "query",
    "stream",
    "The events of a background response instead of the response: those that there are, then the others as they come.",
    {"type": "boolean", "default": False},
)
_STARTING_AFTER = _in(
    "query",
    "starting_after",
    "With `stream`: the `sequence_number` of the last event that the client has; only later ones are sent.",
    {"type": "integer"},
)
_OBFUSCATION = _in("query", "include_obfuscation", "Taken and without effect: no event is padded.", {"type": "boolean"})
_PREFER = _in(
    "header",
    "Prefer",
    f"`wait=10` waits up to so many seconds (at most {query.WAIT_LIMIT_S}) for the end, instead of polling.",
    _text(examples=["wait=10"]),
)
_IF_NONE_MATCH = _in("header", "If-None-Match", "The `ETag` of the last poll: 304 if nothing has changed.", _text())
_IDEMPOTENCY_KEY = _in(
    "header",
    "Idempotency-Key",
    "A create with the same key and body within 24 hours finds the response of the first; with another body, 400.",
    _text(minLength=1, maxLength=parsing.KEY_LIMIT),
)
_STATUS = _in("query", "status", "Only responses with this status.", _text(enum=list(Status)))
_MODEL = _in("query", "model", "Only responses of this model.", _text())
_METADATA = _in(
    "query",
    "metadata",
    "Only responses that have all these pairs: `metadata[team]=search`.",
    {"type": "object", "additionalProperties": _text()},
    style="deepObject",
    explode=True,
)


def _operation(name: str, tag: str, summary: str, *parameters: _Parameter, **parts: Any) -> dict[str, Any]:
    found = {"operationId": name, "tags": [tag], "summary": summary}
    return found | ({"parameters": list(parameters)} if parameters else {}) | parts


def _keyed(
    name: str, tag: str, summary: str, *parameters: _Parameter, good: dict[str, Any], bad: tuple[int, ...], **parts: Any
) -> dict[str, Any]:
    responses = good | answers.error(*sorted({*bad, *_ALWAYS}))
    return _operation(name, tag, summary, *parameters, responses=responses, **parts)


def _open(
    name: str, summary: str, *parameters: _Parameter, good: dict[str, Any], bad: tuple[int, ...] = ()
) -> dict[str, Any]:
    responses = good | answers.error(*bad)
    return _operation(name, "Server", summary, *parameters, responses=responses, security=[])


def _ok(schema: str, words: str, *carried: str) -> dict[str, Any]:
    return {"200": answers.json(schema, words, *carried)}


def paths() -> dict[str, Any]:
    """Every operation by path and method."""
    return _responses() | _prompts() | _models() | _server()


def _responses() -> dict[str, Any]:
    unchanged = {"304": answers.empty("Nothing has changed since the poll that had this ETag.", *_POLLED)}
    return {
        "/v1/responses": {
            "post": _keyed(
                "createResponse",
                "Responses",
                "Create a response",
                _IDEMPOTENCY_KEY,
                description="With `background: true` it is answered at once, as `queued`. Without, the answer is the"
                " finished response; blanks before it keep the connection alive, and a client that goes away cancels"
                " it. One that is deleted meanwhile is answered with 404.",
                requestBody=_body("CreateResponse", _EXAMPLE),
                good={"200": answers.streamed(answers.json("Response", "Accepted, or finished."))},
                bad=(400, 403, 404, 413, 429),
            ),
            "get": _keyed(
                "listResponses",
                "Responses",
                "List the project's responses",
                *(_LIMIT, _ORDER, _AFTER, _STATUS, _MODEL, _METADATA),
                good=_ok("ResponseList", "A page of them."),
                bad=(400,),
            ),
        },
        "/v1/responses/{response_id}": {
            "get": _keyed(
                "getResponse",
                "Responses",
                "Poll a response, wait for its end, or stream its events",
                *(_RESPONSE_ID, _INCLUDE, _STREAM, _STARTING_AFTER, _OBFUSCATION, _PREFER, _IF_NONE_MATCH),
                good={"200": answers.streamed(answers.json("Response", "As it is now.", *_POLLED))} | unchanged,
                bad=(400, 404),
            ),
            "delete": _keyed(
                "deleteResponse",
                "Responses",
                "Delete a response that has ended",
                _RESPONSE_ID,
                good=_ok("DeletedResponse", "It is gone."),
                bad=(400, 404),
            ),
        },
        "/v1/responses/{response_id}/cancel": {
            "post": _keyed(
                "cancelResponse",
                "Responses",
                "Cancel a background response",
                _RESPONSE_ID,
                description="At once and for good; one that has ended stays as it is.",
                good=_ok("Response", "It has ended."),
                bad=(400, 404),
            ),
        },
        "/v1/responses/{response_id}/input_items": {
            "get": _keyed(
                "listInputItems",
                "Responses",
                "List what the model was given",
                *(_RESPONSE_ID, _LIMIT, _ORDER, _AFTER, _INCLUDE),
                good=_ok("ItemList", "A page of the context it was created with and of its own input."),
                bad=(400, 404),
            ),
        },
    }


def _body(schema: str, example: dict[str, Any]) -> dict[str, Any]:
    return {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": REF + schema}, "example": example}},
    }


def _prompts() -> dict[str, Any]:
    prompt_id = _in("path", "prompt_id", "The prompt's `id`.", _text(), required=True)
    number = _in("path", "version", "The version's number.", _text(), required=True)
    return {
        "/v1/prompts": {
            "post": _keyed(
                "createPrompt",
                "Prompts",
                "Store a prompt",
                requestBody=_body("CreatePrompt", {"name": "greeting", "template": _TEMPLATE}),
                good=_ok("Prompt", "It has version 1, which is its default."),
                bad=(400, 413),
            ),
            "get": _keyed(
                "listPrompts",
                "Prompts",
                "List the project's prompts",
                *(_LIMIT, _ORDER, _AFTER),
                good=_ok("PromptList", "A page of them."),
                bad=(400,),
            ),
        },
        "/v1/prompts/{prompt_id}": {
            "get": _keyed(
                "getPrompt", "Prompts", "Get a prompt", prompt_id, good=_ok("Prompt", "It is here."), bad=(404,)
            ),
            "post": _keyed(
                "updatePrompt",
                "Prompts",
                "Change a prompt's name, description or default version",
                prompt_id,
                requestBody=_body("UpdatePrompt", {"default_version": "1"}),
                good=_ok("Prompt", "As it is now."),
                bad=(400, 404, 413),
            ),
            "delete": _keyed(
                "deletePrompt",
                "Prompts",
                "Delete a prompt with its versions",
                prompt_id,
                description="Responses that were made with it keep what they have of it.",
                good=_ok("DeletedPrompt", "It is gone."),
                bad=(404,),
            ),
        },
        "/v1/prompts/{prompt_id}/versions": {
            "post": _keyed(
                "createPromptVersion",
                "Prompts",
                "Add a version to a prompt",
                prompt_id,
                requestBody=_body("CreatePromptVersion", {"template": _TEMPLATE}),
                good=_ok("PromptVersion", "It has the next number."),
                bad=(400, 404, 413),
            ),
        },
        "/v1/prompts/{prompt_id}/versions/{version}": {
            "get": _keyed(
                "getPromptVersion",
                "Prompts",
                "Get a version with its template",
                *(prompt_id, number),
                good=_ok("PromptVersion", "It never changes."),
                bad=(404,),
            ),
        },
    }


def _models() -> dict[str, Any]:
    name = _in("path", "name", "The model's public name, which may have slashes.", _text(), required=True)
    return {
        "/v1/models": {
            "get": _keyed("listModels", "Models", "List the models", good=_ok("ModelList", "All of them."), bad=()),
        },
        "/v1/models/{name}": {
            "get": _keyed("getModel", "Models", "Get a model", name, good=_ok("Model", "It is here."), bad=(404,)),
        },
    }


def _server() -> dict[str, Any]:
    asset = _in("path", "name", "One of the page's files.", _text(enum=sorted(ASSETS)), required=True)
    page = answers.whole("text/html", _text(), "The page.")
    file = {
        "description": "The file.",
        "content": {kind: {"schema": _text()} for kind in sorted(set(ASSETS.values()))},
    }
    return {
        "/healthz": {"get": _open("health", "Whether this process serves", good=_ok("Health", "It does."))},
        "/readyz": {
            "get": _open(
                "readiness",
                "Whether requests can be taken",
                good=_ok("Readiness", "They can.") | {"503": answers.json("Unreadiness", "They cannot.")},
            )
        },
        "/openapi.json": {
            "get": _open(
                "openapi",
                "This document",
                good={"200": answers.whole("application/json", {"type": "object"}, "The document.")},
            )
        },
        "/docs": {"get": _open("docs", "This document for people", good={"200": page})},
        "/docs/{name}": {"get": _open("docsFile", "A file of that page", asset, good={"200": file}, bad=(404,))},
    }
