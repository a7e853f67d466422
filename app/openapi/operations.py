"""The routes: what each is for, takes and answers. A test holds them to the routes that there are."""

from typing import Any, get_args

from app import parsing, query
from app.openapi import answers, project_operations
from app.openapi.docs_page import ASSETS
from app.openapi.parts import AFTER, LIMIT, ORDER, body, in_, keyed, ok, opened, text
from core.wire.request import Include
from core.wire.status import Status

_POLLED = ("ETag", "openai-poll-after-ms", "Preference-Applied")
_EXAMPLE = {"model": "smollm2-135m", "input": "Say hello.", "background": True}
_TEMPLATE = {"instructions": "Answer in {{language}}.", "variables": {"language": {"default": "French"}}}


_RESPONSE_ID = in_("path", "response_id", "The response's `id`.", text(), required=True)
_INCLUDE = in_(
    "query",
    "include[]",
    "Images in data URLs are listed among input items only where they are asked for; for the rest, items hold what the "
    "`include` of the create named.",
    {"type": "array", "items": text(enum=sorted(get_args(Include)))},
    style="form",
    explode=True,
)
_STREAM = in_(
    "query",
    "stream",
    "The events of a background response instead of the response: those that there are, then the others as they come.",
    {"type": "boolean", "default": False},
)
_STARTING_AFTER = in_(
    "query",
    "starting_after",
    "With `stream`: the `sequence_number` of the last event that the client has; only later ones are sent.",
    {"type": "integer"},
)
_OBFUSCATION = in_("query", "include_obfuscation", "Taken and without effect: no event is padded.", {"type": "boolean"})
_PREFER = in_(
    "header",
    "Prefer",
    f"`wait=10` waits up to so many seconds (at most {query.WAIT_LIMIT_S}) for the end, instead of polling.",
    text(examples=["wait=10"]),
)
_IF_NONE_MATCH = in_("header", "If-None-Match", "The `ETag` of the last poll: 304 if nothing has changed.", text())
_IDEMPOTENCY_KEY = in_(
    "header",
    "Idempotency-Key",
    "A create with the same key and body within 24 hours finds the response of the first; with another body, 400.",
    text(minLength=1, maxLength=parsing.KEY_LIMIT),
)
_STATUS = in_("query", "status", "Only responses with this status.", text(enum=list(Status)))
_MODEL = in_("query", "model", "Only responses of this model.", text())
_METADATA = in_(
    "query",
    "metadata",
    "Only responses that have all these pairs: `metadata[team]=search`.",
    {"type": "object", "additionalProperties": text()},
    style="deepObject",
    explode=True,
)


def paths() -> dict[str, Any]:
    """Every operation by path and method."""
    return _responses() | _prompts() | project_operations.paths() | _models() | _server()


def _responses() -> dict[str, Any]:
    unchanged = {"304": answers.empty("Nothing has changed since the poll that had this ETag.", *_POLLED)}
    return {
        "/v1/responses": {
            "post": keyed(
                "createResponse",
                "Responses",
                "Create a response",
                _IDEMPOTENCY_KEY,
                description="With `background: true` it is answered at once, as `queued`. Without, the answer is the"
                " finished response; blanks before it keep the connection alive, and a client that goes away cancels"
                " it. One that is deleted meanwhile is answered with 404.",
                requestBody=body("CreateResponse", _EXAMPLE),
                good={"200": answers.streamed(answers.json("Response", "Accepted, or finished.", *answers.METERED))},
                bad=(400, 403, 404, 413, 429),
            ),
            "get": keyed(
                "listResponses",
                "Responses",
                "List the project's responses",
                *(LIMIT, ORDER, AFTER, _STATUS, _MODEL, _METADATA),
                good=ok("ResponseList", "A page of them."),
                bad=(400,),
            ),
        },
        "/v1/responses/{response_id}": {
            "get": keyed(
                "getResponse",
                "Responses",
                "Poll a response, wait for its end, or stream its events",
                *(_RESPONSE_ID, _INCLUDE, _STREAM, _STARTING_AFTER, _OBFUSCATION, _PREFER, _IF_NONE_MATCH),
                good={"200": answers.streamed(answers.json("Response", "As it is now.", *_POLLED))} | unchanged,
                bad=(400, 404),
            ),
            "delete": keyed(
                "deleteResponse",
                "Responses",
                "Delete a response that has ended",
                _RESPONSE_ID,
                good=ok("DeletedResponse", "It is gone."),
                bad=(400, 404),
            ),
        },
        "/v1/responses/{response_id}/cancel": {
            "post": keyed(
                "cancelResponse",
                "Responses",
                "Cancel a background response",
                _RESPONSE_ID,
                description="At once and for good; one that has ended stays as it is.",
                good=ok("Response", "It has ended."),
                bad=(400, 404),
            ),
        },
        "/v1/responses/{response_id}/input_items": {
            "get": keyed(
                "listInputItems",
                "Responses",
                "List what the model was given",
                *(_RESPONSE_ID, LIMIT, ORDER, AFTER, _INCLUDE),
                good=ok("ItemList", "A page of the context it was created with and of its own input."),
                bad=(400, 404),
            ),
        },
    }


def _prompts() -> dict[str, Any]:
    prompt_id = in_("path", "prompt_id", "The prompt's `id`.", text(), required=True)
    number = in_("path", "version", "The version's number.", text(), required=True)
    return {
        "/v1/prompts": {
            "post": keyed(
                "createPrompt",
                "Prompts",
                "Store a prompt",
                requestBody=body("CreatePrompt", {"name": "greeting", "template": _TEMPLATE}),
                good=ok("Prompt", "It has version 1, which is its default."),
                bad=(400, 413),
            ),
            "get": keyed(
                "listPrompts",
                "Prompts",
                "List the project's prompts",
                *(LIMIT, ORDER, AFTER),
                good=ok("PromptList", "A page of them."),
                bad=(400,),
            ),
        },
        "/v1/prompts/{prompt_id}": {
            "get": keyed(
                "getPrompt", "Prompts", "Get a prompt", prompt_id, good=ok("Prompt", "It is here."), bad=(404,)
            ),
            "post": keyed(
                "updatePrompt",
                "Prompts",
                "Change a prompt's name, description or default version",
                prompt_id,
                requestBody=body("UpdatePrompt", {"default_version": "1"}),
                good=ok("Prompt", "As it is now."),
                bad=(400, 404, 413),
            ),
            "delete": keyed(
                "deletePrompt",
                "Prompts",
                "Delete a prompt with its versions",
                prompt_id,
                description="Responses that were made with it keep what they have of it.",
                good=ok("DeletedPrompt", "It is gone."),
                bad=(404,),
            ),
        },
        "/v1/prompts/{prompt_id}/versions": {
            "post": keyed(
                "createPromptVersion",
                "Prompts",
                "Add a version to a prompt",
                prompt_id,
                requestBody=body("CreatePromptVersion", {"template": _TEMPLATE}),
                good=ok("PromptVersion", "It has the next number."),
                bad=(400, 404, 413),
            ),
        },
        "/v1/prompts/{prompt_id}/versions/{version}": {
            "get": keyed(
                "getPromptVersion",
                "Prompts",
                "Get a version with its template",
                *(prompt_id, number),
                good=ok("PromptVersion", "It never changes."),
                bad=(404,),
            ),
        },
    }


def _models() -> dict[str, Any]:
    name = in_("path", "name", "The model's public name, which may have slashes.", text(), required=True)
    return {
        "/v1/models": {
            "get": keyed("listModels", "Models", "List the models", good=ok("ModelList", "All of them."), bad=()),
        },
        "/v1/models/{name}": {
            "get": keyed("getModel", "Models", "Get a model", name, good=ok("Model", "It is here."), bad=(404,)),
        },
    }


def _server() -> dict[str, Any]:
    asset = in_("path", "name", "One of the page's files.", text(enum=sorted(ASSETS)), required=True)
    page = answers.response_body("text/html", text(), "The page.")
    file = {
        "description": "The file.",
        "content": {kind: {"schema": text()} for kind in sorted(set(ASSETS.values()))},
    }
    return {
        "/healthz": {"get": opened("health", "Whether this process serves", good=ok("Health", "It does."))},
        "/readyz": {
            "get": opened(
                "readiness",
                "Whether requests can be taken",
                good=ok("Readiness", "They can.") | {"503": answers.json("Unreadiness", "They cannot.")},
            )
        },
        "/openapi.json": {
            "get": opened(
                "openapi",
                "This document",
                good={"200": answers.response_body("application/json", {"type": "object"}, "The document.")},
            )
        },
        "/docs": {"get": opened("docs", "This document for people", good={"200": page})},
        "/docs/{name}": {"get": opened("docsFile", "A file of that page", asset, good={"200": file}, bad=(404,))},
    }
