"""Building blocks of operations in the OpenAPI document: parameters, request bodies and shared answers."""

from typing import Any

from app import query
from app.openapi import answers
from app.openapi.schemas import REF

Parameter = dict[str, Any]
# Errors that every request with a key can get.
ALWAYS = (400, 401, 403, 404, 500, 503)


def in_(place: str, name: str, words: str, schema: dict[str, Any], **more: Any) -> Parameter:
    return {"name": name, "in": place, "description": words, "schema": schema, **more}


def text(**bounds: Any) -> dict[str, Any]:
    return {"type": "string", **bounds}


LIMIT = in_(
    "query",
    "limit",
    "The maximum number of objects per page.",
    {"type": "integer", "minimum": 1, "maximum": query.PAGE_LIMIT, "default": query.PAGE_DEFAULT},
)
ORDER = in_(
    "query",
    "order",
    "Order by creation time: `asc` for oldest first, `desc` for newest first.",
    text(enum=["asc", "desc"], default="desc"),
)
AFTER = in_("query", "after", "The page begins after the object with this ID: `last_id` of the previous page.", text())


def operation(name: str, tag: str, summary: str, *parameters: Parameter, **parts: Any) -> dict[str, Any]:
    found = {"operationId": name, "tags": [tag], "summary": summary}
    return found | ({"parameters": list(parameters)} if parameters else {}) | parts


def keyed(
    name: str,
    tag: str,
    summary: str,
    *parameters: Parameter,
    good: dict[str, Any],
    bad: tuple[int, ...] = (),
    **parts: Any,
) -> dict[str, Any]:
    responses = good | answers.error(*sorted({*bad, *ALWAYS}))
    return operation(name, tag, summary, *parameters, responses=responses, **parts)


def opened(
    name: str, summary: str, *parameters: Parameter, good: dict[str, Any], bad: tuple[int, ...] = ()
) -> dict[str, Any]:
    responses = good | answers.error(*bad)
    return operation(name, "Server", summary, *parameters, responses=responses, security=[])


def ok(schema: str, words: str, *carried: str) -> dict[str, Any]:
    return {"200": answers.json(schema, words, *carried)}


def body(schema: str, example: dict[str, Any]) -> dict[str, Any]:
    return {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": REF + schema}, "example": example}},
    }
