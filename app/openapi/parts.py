"""Building blocks of operations in the OpenAPI document: parameters, request bodies and shared answers."""

from typing import Any

from app import query
from app.openapi import answers
from app.openapi.schemas import REF
from core.jsonio import JsonObject

Parameter = JsonObject
# Error statuses that every operation with an API key can return.
COMMON_STATUSES = (400, 401, 403, 404, 500, 503)


def parameter(location: str, name: str, description: str, schema: JsonObject, **attributes: Any) -> Parameter:
    return {"name": name, "in": location, "description": description, "schema": schema, **attributes}


def string_schema(**constraints: Any) -> JsonObject:
    return {"type": "string", **constraints}


LIMIT = parameter(
    "query",
    "limit",
    "The maximum number of objects per page. A page of responses or items ends earlier if it exceeds 32 MB.",
    {"type": "integer", "minimum": 1, "maximum": query.MAX_PAGE_SIZE, "default": query.DEFAULT_PAGE_SIZE},
)
ORDER = parameter(
    "query",
    "order",
    "Order by creation time: `asc` for oldest first, `desc` for newest first.",
    string_schema(enum=["asc", "desc"], default="desc"),
)
AFTER = parameter(
    "query", "after", "The page begins after the object with this ID: `last_id` of the previous page.", string_schema()
)


def operation(name: str, tag: str, summary: str, *parameters: Parameter, **other_fields: Any) -> JsonObject:
    fields = {"operationId": name, "tags": [tag], "summary": summary}
    return fields | ({"parameters": list(parameters)} if parameters else {}) | other_fields


def authenticated_operation(
    name: str,
    tag: str,
    summary: str,
    *parameters: Parameter,
    successes: JsonObject,
    error_statuses: tuple[int, ...] = (),
    **other_fields: Any,
) -> JsonObject:
    """An operation that requires an API key.

    Args:
        successes: the answers to successful requests, by status.
        error_statuses: error statuses in addition to `COMMON_STATUSES`.
    """
    responses = successes | answers.error_references(*sorted({*error_statuses, *COMMON_STATUSES}))
    return operation(name, tag, summary, *parameters, responses=responses, **other_fields)


def public_operation(
    name: str, summary: str, *parameters: Parameter, successes: JsonObject, error_statuses: tuple[int, ...] = ()
) -> JsonObject:
    responses = successes | answers.error_references(*error_statuses)
    return operation(name, "Server", summary, *parameters, responses=responses, security=[])


def json_success(schema: str, description: str, *header_names: str) -> JsonObject:
    return {"200": answers.json_answer(schema, description, *header_names)}


def request_body(schema: str, example: JsonObject) -> JsonObject:
    return {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": REF + schema}, "example": example}},
    }
