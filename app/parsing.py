"""Bytes of a request's body into a schema, or an error that names the field."""

from typing import Any, NoReturn, TypeVar

import orjson
from flask import request
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from werkzeug.exceptions import RequestEntityTooLarge

from core import errors
from core.schemas.request import UNSUPPORTED, CreateResponse

Schema = TypeVar("Schema", bound=BaseModel)

# Discriminator tags stand in pydantic's paths and mean nothing to a client.
_TAGS = frozenset({"text", "items", "parts", "[key]"})

_CODES = {
    "missing": "missing_required_parameter",
    "string_too_long": "string_above_max_length",
    "string_too_short": "string_below_min_length",
    "too_long": "array_above_max_length",
    "too_short": "array_below_min_length",
    "finite_number": "invalid_value",
}


def create_response() -> CreateResponse:
    """The body of a create.

    Raises:
        errors.InvalidRequest: it is not JSON, or a parameter is wrong, unknown in value or not served.
        errors.TooLarge: it is over the limit.
    """
    body = json_object()
    if body.get("service_tier") == "over-limit":
        raise errors.InvalidRequest(
            "service_tier 'over-limit' cannot be asked for; only a response may carry it.", param="service_tier"
        )
    parsed = _validate(CreateResponse, body)
    for name, harmless in UNSUPPORTED.items():
        value = body.get(name)
        if value is not None and not any(_same(value, default) for default in harmless):
            raise errors.InvalidRequest(f"'{name}' is not supported.", param=name, code="unsupported_parameter")
    return parsed


def _same(value: Any, default: Any) -> bool:
    return isinstance(value, bool) == isinstance(default, bool) and bool(value == default)


def json_object() -> dict[str, Any]:
    """The body as a JSON object."""
    if request.mimetype not in {"application/json", ""}:
        raise errors.InvalidRequest("The body must be JSON, sent as Content-Type: application/json.")
    try:
        body = orjson.loads(request.get_data(cache=False))
    except RequestEntityTooLarge as error:
        raise errors.TooLarge("The request's body is over this server's limit.") from error
    except orjson.JSONDecodeError as error:
        raise errors.InvalidRequest(
            f"We could not parse the JSON body of your request: {error.msg} at line {error.lineno}"
            f" column {error.colno}."
        ) from error
    if not isinstance(body, dict):
        raise errors.InvalidRequest("The body must be a JSON object.", code="invalid_type")
    return body


def _validate(schema: type[Schema], body: dict[str, Any]) -> Schema:
    try:
        return schema.model_validate(body)
    except ValidationError as error:
        _refuse(error.errors(include_url=False)[0])


def _refuse(detail: ErrorDetails) -> NoReturn:
    param = _path(detail["loc"])
    kind = detail["type"]
    if kind == "missing":
        message = f"Missing required parameter: '{param}'."
    else:
        message = f"Invalid value for '{param}': {detail['msg']}."
    raise errors.InvalidRequest(message, param=param, code=_code(kind, detail["input"]))


def _path(place: tuple[int | str, ...]) -> str:
    """A place in the body as the contract writes it: `input[0].content`."""
    path = ""
    for position, part in enumerate(place):
        if isinstance(part, int):
            path += f"[{part}]"
        elif part not in _TAGS or (part == "text" and position == len(place) - 1 and "parts" in place):
            path += f".{part}" if path else part
    return path


def _code(kind: str, value: Any) -> str:
    if kind in _CODES:
        return _CODES[kind]
    bound = {"greater_than_equal": "below_min_value", "less_than_equal": "above_max_value"}.get(kind)
    if bound is not None:
        return f"{'integer' if isinstance(value, int) else 'decimal'}_{bound}"
    return "invalid_type" if kind.endswith("_type") else "invalid_value"
