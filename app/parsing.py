"""Validates idempotency keys and request bodies; errors in a body contain the name of the invalid parameter."""

import hashlib
from typing import Any, NoReturn, TypeVar

import orjson
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from app.http import QUOTE_LIMIT, Exchange
from core import errors, jsonio
from core.jsonio import JsonObject
from core.responses.created import IdempotencyKey
from core.wire.request import UNSUPPORTED_PARAMETERS, CreateResponse

Schema = TypeVar("Schema", bound=BaseModel)

# Pydantic's error types for values of the wrong type, with the expected type.
_TYPE_ERRORS = {
    "string_type": "a string",
    "int_type": "an integer",
    "float_type": "a number",
    "bool_type": "a boolean",
    "list_type": "an array",
    "dict_type": "an object",
    "model_type": "an object",
}
# Unions of a plain and a structured form, by the label of a branch: pydantic reports an error in this branch, but both
# types are allowed.
_ALTERNATIVE_TYPES = {"<list>": "a string or an array", "<mode>": "a string or an object"}
# Pydantic's other error types, with the error code and the message.
_VALUE_ERRORS = {
    "missing": ("missing_required_parameter", "Missing required parameter: '{param}'."),
    "literal_error": ("invalid_value", "Invalid value for '{param}': {value}; expected {expected}."),
    "string_too_long": (
        "string_above_max_length",
        "Invalid '{param}': it has {length} characters; at most {max_length} are allowed.",
    ),
    "string_too_short": ("string_below_min_length", "Invalid '{param}': it is empty."),
    "string_pattern_mismatch": ("invalid_value", "Invalid value for '{param}': it must match {pattern}."),
    "too_long": (
        "array_above_max_length",
        "Invalid '{param}': it has too many items; at most {max_length} are allowed.",
    ),
    "too_short": ("array_below_min_length", "Invalid '{param}': it is empty; at least one item is required."),
    "too_many_pairs": (
        "object_above_max_properties",
        "Invalid '{param}': it has {actual_length} pairs; at most {max_length} are allowed.",
    ),
    "unsupported": ("unsupported_parameter", "'{param}' is not supported."),
    "extra_forbidden": ("unknown_parameter", "Unknown parameter: '{param}'."),
    "variable_name": (
        "invalid_value",
        "Invalid '{param}': a variable name must have 1 to 64 letters, digits, '_' or '-'.",
    ),
    "greater_than_equal": ("{number}_below_min_value", "Invalid '{param}': {value} is less than {ge}."),
    "less_than_equal": ("{number}_above_max_value", "Invalid '{param}': {value} is more than {le}."),
}
# Errors of union discriminators. Their cause is an invalid `type` of the reported value.
_DISCRIMINATOR_ERRORS = frozenset({"unknown_item", "unknown_part", "unknown_tool", "unknown_choice", "unknown_format"})
# Parameters of other vendors' servers. They have no effect here, and strict mode accepts them.
_IGNORED_PARAMETERS = frozenset({"access_programs", "image", "client_metadata"})
_KNOWN_PARAMETERS = frozenset(CreateResponse.model_fields) | UNSUPPORTED_PARAMETERS | _IGNORED_PARAMETERS
MAX_IDEMPOTENCY_KEY_LENGTH = 255


def create_response(body: JsonObject, *, strict: bool) -> CreateResponse:
    """Validate the body of a request that creates a response.

    Args:
        strict: whether to reject unknown parameters; otherwise they are ignored.

    Raises:
        errors.InvalidRequest: a parameter is invalid, not supported, or unknown in strict mode.
    """
    if strict:
        _reject_unknown_parameters(body)
    for name in sorted(UNSUPPORTED_PARAMETERS):
        if body.get(name) is not None:
            raise errors.InvalidRequest(f"'{name}' is not supported.", param=name, code="unsupported_parameter")
    if body.get("service_tier") == "over-limit":
        raise errors.InvalidRequest(
            "service_tier 'over-limit' cannot be requested; only the server assigns it.", param="service_tier"
        )
    return validate(CreateResponse, body)


def idempotency_key(exchange: Exchange, body: JsonObject) -> IdempotencyKey | None:
    """The idempotency key of a request, with the hash of its body; None without an `Idempotency-Key` header.

    Raises:
        errors.InvalidRequest: the key is empty, unreadable, longer than `MAX_IDEMPOTENCY_KEY_LENGTH`, or contains a
            comma, as a repeated header does.
    """
    header = exchange.header("Idempotency-Key")
    if header is None:
        return None
    key = header.strip()
    if not 0 < len(key) <= MAX_IDEMPOTENCY_KEY_LENGTH or not key.isprintable():
        raise errors.InvalidRequest(
            f"An Idempotency-Key must have 1 to {MAX_IDEMPOTENCY_KEY_LENGTH} printable characters."
        )
    canonical = orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
    return IdempotencyKey(key, hashlib.sha256(canonical).digest())


def _reject_unknown_parameters(body: JsonObject) -> None:
    for name in body:
        if name not in _KNOWN_PARAMETERS:
            raise errors.InvalidRequest(
                f"Unknown parameter: '{name[:QUOTE_LIMIT]}'.", param=name[:QUOTE_LIMIT], code="unknown_parameter"
            )


def validate(schema: type[Schema], body: JsonObject) -> Schema:
    """Validate a body against a schema.

    Raises:
        errors.InvalidRequest: the body does not match; the error contains the first invalid parameter.
    """
    try:
        return schema.model_validate(body)
    except ValidationError as error:
        _raise_invalid_request(error.errors(include_url=False)[0])


def _raise_invalid_request(detail: ErrorDetails) -> NoReturn:
    """Raise an error of the API that describes an error of pydantic."""
    error_type, value, param = detail["type"], detail["input"], _param_path(detail["loc"])
    context = detail.get("ctx", {})  # the limits or allowed values that the value violates
    if error_type in _DISCRIMINATOR_ERRORS:
        param, value = f"{param}.type", value.get("type")
        context = {"expected": detail["msg"]}
        error_type = "missing" if value is None else "literal_error"
    if error_type == "literal_error" and not isinstance(value, str):
        error_type = "string_type"
    if error_type in _TYPE_ERRORS:
        expected_type = _ALTERNATIVE_TYPES.get(str(detail["loc"][-1]), _TYPE_ERRORS[error_type])
        message = f"Invalid type for '{param}': expected {expected_type}, but got {json_type(value)}."
        raise errors.InvalidRequest(message, param=param, code="invalid_type")
    code, message = _VALUE_ERRORS.get(error_type, ("invalid_value", "Invalid value for '{param}'."))
    bound = context.get("ge", context.get("le"))
    values = context | {
        "param": param,
        "value": quote_value(value),
        "length": len(value) if isinstance(value, str) else None,
        "number": "integer" if isinstance(bound, int) else "decimal",
    }
    raise errors.InvalidRequest(message.format_map(values), param=param, code=code.format_map(values))


def _param_path(location: tuple[int | str, ...]) -> str:
    """A location in the body, in the API's notation: `input[0].content`, `metadata.team`."""
    if location[0] == "metadata":
        # An error in a key is reported for `metadata` itself.
        return f"metadata.{location[1]}" if len(location) == 2 else "metadata"
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif not part.startswith("<"):  # the label of a union branch, which is internal
            path += f".{part}" if path else part
    return path


def json_type(value: Any) -> str:
    """The JSON name of a value's type, with an article."""
    names = {bool: "a boolean", int: "an integer", float: "a decimal", str: "a string", list: "an array"}
    return names.get(type(value), "an object" if isinstance(value, dict) else "null")


def quote_value(value: Any) -> str:
    """A scalar as truncated JSON text, any other value as its type: a deeply nested value cannot be serialized."""
    text = jsonio.dumps(value) if isinstance(value, str | int | float) else json_type(value)
    return text if len(text) <= QUOTE_LIMIT else f"{text[:QUOTE_LIMIT]}…"
