"""The operations of the OpenAPI document. A test compares them with the routes of the server."""

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
    "Optional fields of input items. Data URLs of images are null unless requested here; all other fields are as "
    "requested with `include` when the response was created.",
    {"type": "array", "items": text(enum=sorted(get_args(Include)))},
    style="form",
    explode=True,
)
_STREAM = in_(
    "query",
    "stream",
    "Stream the events of a background response instead of returning it: past events first, then each new event.",
    {"type": "boolean", "default": False},
)
_STARTING_AFTER = in_(
    "query",
    "starting_after",
    "With `stream`, the `sequence_number` of the last event received. Only later events are sent.",
    {"type": "integer"},
)
_OBFUSCATION = in_(
    "query", "include_obfuscation", "Accepted without effect: events are never padded.", {"type": "boolean"}
)
_PREFER = in_(
    "header",
    "Prefer",
    f"`wait=10` waits up to 10 seconds for the response to end. The maximum is {query.WAIT_LIMIT_S} seconds.",
    text(examples=["wait=10"]),
)
_IF_NONE_MATCH = in_(
    "header", "If-None-Match", "The `ETag` of the last poll. If nothing has changed, 304 is returned.", text()
)
_IDEMPOTENCY_KEY = in_(
    "header",
    "Idempotency-Key",
    "For 24 hours, a request with the same key and body returns the same response. With a different body, it gets 400.",
    text(minLength=1, maxLength=parsing.KEY_LIMIT),
)
_STATUS = in_("query", "status", "Only responses with this status.", text(enum=list(Status)))
_MODEL = in_("query", "model", "Only responses of this model.", text())
_METADATA = in_(
    "query",
    "metadata",
    "Only responses whose metadata has all of these pairs, such as `metadata[team]=search`.",
    {"type": "object", "additionalProperties": text()},
    style="deepObject",
    explode=True,
)


def paths() -> dict[str, Any]:
    """Every operation by path and method."""
    return _responses() | _prompts() | project_operations.paths() | _models() | _server()


def _responses() -> dict[str, Any]:
    unchanged = {"304": answers.empty("Nothing has changed since the poll that returned this ETag.", *_POLLED)}
    return {
        "/v1/responses": {
            "post": keyed(
                "createResponse",
                "Responses",
                "Create a response",
                _IDEMPOTENCY_KEY,
                description="With `background: true`, the response is returned immediately with status `queued`."
                " Otherwise, the request waits and returns the final response; blanks before the JSON keep the"
                " connection alive. If the client disconnects, the response is cancelled. If the response is deleted in"
                " the meantime, the request returns 404.",
                requestBody=body("CreateResponse", _EXAMPLE),
                good={"200": answers.streamed(answers.json("Response", "Response created.", *answers.METERED))},
                bad=(400, 403, 404, 413, 429),
            ),
            "get": keyed(
                "listResponses",
                "Responses",
                "List the project's responses",
                *(LIMIT, ORDER, AFTER, _STATUS, _MODEL, _METADATA),
                good=ok("ResponseList", "A page of responses."),
                bad=(400,),
            ),
        },
        "/v1/responses/{response_id}": {
            "get": keyed(
                "getResponse",
                "Responses",
                "Poll a response, wait for it to end, or stream its events",
                *(_RESPONSE_ID, _INCLUDE, _STREAM, _STARTING_AFTER, _OBFUSCATION, _PREFER, _IF_NONE_MATCH),
                good={"200": answers.streamed(answers.json("Response", "The current response.", *_POLLED))} | unchanged,
                bad=(400, 404),
            ),
            "delete": keyed(
                "deleteResponse",
                "Responses",
                "Delete a response that has ended",
                _RESPONSE_ID,
                good=ok("DeletedResponse", "Response deleted."),
                bad=(400, 404),
            ),
        },
        "/v1/responses/{response_id}/cancel": {
            "post": keyed(
                "cancelResponse",
                "Responses",
                "Cancel a background response",
                _RESPONSE_ID,
                description="Takes effect immediately and is final. A response that has already ended does not change.",
                good=ok("Response", "The response was cancelled, or had already ended."),
                bad=(400, 404),
            ),
        },
        "/v1/responses/{response_id}/input_items": {
            "get": keyed(
                "listInputItems",
                "Responses",
                "List the input items of a response",
                *(_RESPONSE_ID, LIMIT, ORDER, AFTER, _INCLUDE),
                good=ok("ItemList", "A page of input items: the inherited context, and the request's own input."),
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
                "Create a prompt",
                requestBody=body("CreatePrompt", {"name": "greeting", "template": _TEMPLATE}),
                good=ok("Prompt", "Prompt created, with version 1 as the default version."),
                bad=(400, 413),
            ),
            "get": keyed(
                "listPrompts",
                "Prompts",
                "List the project's prompts",
                *(LIMIT, ORDER, AFTER),
                good=ok("PromptList", "A page of prompts."),
                bad=(400,),
            ),
        },
        "/v1/prompts/{prompt_id}": {
            "get": keyed(
                "getPrompt", "Prompts", "Get a prompt", prompt_id, good=ok("Prompt", "The prompt."), bad=(404,)
            ),
            "post": keyed(
                "updatePrompt",
                "Prompts",
                "Update a prompt's name, description or default version",
                prompt_id,
                requestBody=body("UpdatePrompt", {"default_version": "1"}),
                good=ok("Prompt", "Prompt updated."),
                bad=(400, 404, 413),
            ),
            "delete": keyed(
                "deletePrompt",
                "Prompts",
                "Delete a prompt and its versions",
                prompt_id,
                description="Responses that were created with the prompt do not change.",
                good=ok("DeletedPrompt", "Prompt deleted."),
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
                good=ok("PromptVersion", "Version created. Versions are numbered consecutively."),
                bad=(400, 404, 413),
            ),
        },
        "/v1/prompts/{prompt_id}/versions/{version}": {
            "get": keyed(
                "getPromptVersion",
                "Prompts",
                "Get a version of a prompt",
                *(prompt_id, number),
                good=ok("PromptVersion", "The version and its template, which never change."),
                bad=(404,),
            ),
        },
    }


def _models() -> dict[str, Any]:
    name = in_("path", "name", "The name of the model, which may contain slashes.", text(), required=True)
    return {
        "/v1/models": {
            "get": keyed("listModels", "Models", "List the models", good=ok("ModelList", "All models."), bad=()),
        },
        "/v1/models/{name}": {
            "get": keyed("getModel", "Models", "Get a model", name, good=ok("Model", "The model."), bad=(404,)),
        },
    }


def _server() -> dict[str, Any]:
    asset = in_("path", "name", "The name of the file.", text(enum=sorted(ASSETS)), required=True)
    page = answers.response_body("text/html", text(), "The documentation page.")
    file = {
        "description": "The file.",
        "content": {kind: {"schema": text()} for kind in sorted(set(ASSETS.values()))},
    }
    return {
        "/healthz": {
            "get": opened("health", "Check whether the process is running", good=ok("Health", "It is running."))
        },
        "/readyz": {
            "get": opened(
                "readiness",
                "Check whether the server can accept requests",
                good=ok("Readiness", "The server is ready.")
                | {"503": answers.json("Unreadiness", "The server is not ready.")},
            )
        },
        "/openapi.json": {
            "get": opened(
                "openapi",
                "Get this document",
                good={"200": answers.response_body("application/json", {"type": "object"}, "The OpenAPI document.")},
            )
        },
        "/docs": {"get": opened("docs", "View this document", good={"200": page})},
        "/docs/{name}": {
            "get": opened("docsFile", "Get a file of the documentation page", asset, good={"200": file}, bad=(404,))
        },
    }
