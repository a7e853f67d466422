"""Reads, decodes and validates request bodies; errors contain the name of the invalid field."""

import hashlib
import zlib
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import orjson
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.wrappers import Request

from app import nesting
from app.http import Exchange
from core import errors, jsonio
from core.jsonio import JsonObject
from core.responses.create import IdempotencyKey
from core.wire.request import UNSUPPORTED_PARAMETERS, CreateResponse

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

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
# Unions of a plain and a structured form: pydantic reports an error in one branch, but both types are allowed.
_ALTERNATIVE_TYPES = {"<list>": "a string or an array", "<mode>": "a string or an object"}
# Pydantic's other error types, with the error code and the message.
_VALUE_ERRORS = {
    "missing": ("missing_required_parameter", "Missing required parameter: '{param}'."),
    "literal_error": ("invalid_value", "Invalid value for '{param}': {value}; expected {expected}."),
    "string_too_long": (
        "string_above_max_length",
        "Invalid '{param}': it has {size} characters; at most {max_length} are allowed.",
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
MAX_KEY_LENGTH = 255
_DEPTH_ERROR_MESSAGE = "depth limit exceeded"  # orjson's message
_NESTING_LIMIT = 200  # below orjson's limits, so a body that orjson rejects always exceeds it
_QUOTE_LIMIT = 100  # maximum characters of a client's value quoted in an error message


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
        errors.InvalidRequest: the key is empty, longer than `MAX_KEY_LENGTH` or not printable.
    """
    header = exchange.header("Idempotency-Key")
    if header is None:
        return None
    key = header.strip()
    if not 0 < len(key) <= MAX_KEY_LENGTH or not key.isprintable():
        raise errors.InvalidRequest(f"An Idempotency-Key must have 1 to {MAX_KEY_LENGTH} printable characters.")
    canonical = orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
    return IdempotencyKey(key, hashlib.sha256(canonical).digest())


def _reject_unknown_parameters(body: JsonObject) -> None:
    for name in body:
        if name not in _KNOWN_PARAMETERS:
            raise errors.InvalidRequest(
                f"Unknown parameter: '{name[:_QUOTE_LIMIT]}'.", param=name[:_QUOTE_LIMIT], code="unknown_parameter"
            )


def json_body(exchange: Exchange) -> JsonObject:
    """Read the request body as a JSON object.

    Raises:
        errors.InvalidRequest: the body is not a JSON object.
        errors.TooLarge: the body exceeds the size limit.
        errors.Busy: no thread is available to wait for the body.
    """
    limit = exchange.core.settings.body_limit_bytes
    return read_json(exchange.environ, limit, exchange.core.wait_slots.upload())


def read_json(environ: "WSGIEnvironment", limit: int, upload: AbstractContextManager[object]) -> JsonObject:
    """Read the body of a request as a JSON object.

    Args:
        limit: the size limit in bytes, also of the decompressed body.
        upload: a context manager that is active while the body is read.

    Raises:
        errors.InvalidRequest: the body is not a JSON object, or its content type or encoding is not supported.
        errors.TooLarge: the body exceeds the size limit, before or after decompression.
    """
    if environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower() not in {"application/json", ""}:
        raise errors.InvalidRequest("The body must be JSON, sent as Content-Type: application/json.")
    encoding: str = environ.get("HTTP_CONTENT_ENCODING", "identity")
    if encoding.lower() not in {"identity", "", "gzip"}:
        raise errors.InvalidRequest(
            f"Content-Encoding '{encoding[:_QUOTE_LIMIT]}' is not supported: send plain JSON or gzip."
        )
    with upload:
        body_bytes = _read_bytes(environ, limit)
    return decode_body(_decompress(body_bytes, limit) if encoding.lower() == "gzip" else body_bytes)


def decode_body(body_bytes: bytes) -> JsonObject:
    """Decode bytes as a JSON object.

    Raises:
        errors.InvalidRequest: the bytes are not a JSON object, or it is nested too deeply.
    """
    try:
        body = orjson.loads(body_bytes)
    except orjson.JSONDecodeError as error:
        if error.msg == _DEPTH_ERROR_MESSAGE:
            raise _depth_error(body_bytes) from error
        problem = "it is not UTF-8" if error.msg.startswith("str is not valid UTF-8") else error.msg
        raise errors.InvalidRequest(
            f"We could not parse the JSON body of your request: {problem} at line {error.lineno} column {error.colno}."
        ) from error
    try:
        orjson.dumps(_nest(body))
    except TypeError as error:
        raise _depth_error(body_bytes) from error
    if not isinstance(body, dict):
        raise errors.InvalidRequest(f"The body must be a JSON object, not {_json_type(body)}.", code="invalid_type")
    return body


def _depth_error(body_bytes: bytes) -> errors.InvalidRequest:
    return errors.InvalidRequest("The body is nested too deeply.", param=nesting.deep_param(body_bytes, _NESTING_LIMIT))


def _size_error(limit: int) -> errors.RequestTooLarge:
    return errors.RequestTooLarge(f"The request body exceeds this server's limit of {limit} bytes.")


def _decompress(compressed: bytes, limit: int) -> bytes:
    """Decompress a gzip body; stop if the result exceeds `limit` bytes."""
    decompressor = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        body = decompressor.decompress(compressed, limit + 1)
    except zlib.error as error:
        raise errors.InvalidRequest("The body is not valid gzip, although its Content-Encoding is gzip.") from error
    if len(body) > limit:
        raise _size_error(limit)
    if not decompressor.eof or decompressor.unused_data:
        raise errors.InvalidRequest("The body must be a single, complete gzip stream.")
    return body


def _read_bytes(environ: "WSGIEnvironment", limit: int) -> bytes:
    """Read a body; if it has a Content-Length, without Werkzeug's stream, which costs more than parsing the JSON."""
    content_length: str = environ.get("CONTENT_LENGTH", "")
    if not content_length.isdecimal():
        return _read_bytes_without_length(environ, limit)
    remaining = int(content_length)
    if remaining > limit:
        raise _size_error(limit)
    chunks = []
    while remaining and (chunk := environ["wsgi.input"].read(remaining)):
        chunks.append(chunk)
        remaining -= len(chunk)
    if remaining:
        raise errors.InvalidRequest("The request body is shorter than its Content-Length.")
    return b"".join(chunks)


def _read_bytes_without_length(environ: "WSGIEnvironment", limit: int) -> bytes:
    request = Request(environ)
    request.max_content_length = limit
    try:
        body = request.get_data(cache=False)
    except RequestEntityTooLarge as error:
        raise _size_error(limit) from error
    if len(body) >= limit:
        raise _size_error(limit)  # Werkzeug may stop reading at the limit without an error
    return body


def validate(schema: type[Schema], body: JsonObject) -> Schema:
    """Validate a body against a schema.

    Raises:
        errors.InvalidRequest: the body does not match; the error contains the first invalid field.
    """
    try:
        return schema.model_validate(body)
    except ValidationError as error:
        _raise_invalid_request(error.errors(include_url=False)[0])


def _raise_invalid_request(detail: ErrorDetails) -> NoReturn:
    """Raise the API's error for an error that pydantic reports."""
    error_type, value, param = detail["type"], detail["input"], _param_path(detail["loc"])
    limits = detail.get("ctx", {})
    if error_type in _DISCRIMINATOR_ERRORS:
        param, value = f"{param}.type", value.get("type")
        limits = {"expected": detail["msg"]}
        error_type = "missing" if value is None else "literal_error"
    if error_type == "literal_error" and not isinstance(value, str):
        error_type = "string_type"
    if error_type in _TYPE_ERRORS:
        expected_type = _ALTERNATIVE_TYPES.get(str(detail["loc"][-1]), _TYPE_ERRORS[error_type])
        message = f"Invalid type for '{param}': expected {expected_type}, but got {_json_type(value)}."
        raise errors.InvalidRequest(message, param=param, code="invalid_type")
    code, message = _VALUE_ERRORS.get(error_type, ("invalid_value", "Invalid value for '{param}'."))
    bound = limits.get("ge", limits.get("le"))
    values = limits | {
        "param": param,
        "value": _quote(value),
        "size": len(value) if isinstance(value, str) else None,
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


def _nest(body: Any) -> Any:
    """Nest the body as deeply as it will be nested when it is stored, so that it can be serialized then."""
    for _ in range(8):
        body = [body]
    return body


def _json_type(value: Any) -> str:
    """The JSON name of a value's type, with its article."""
    names = {bool: "a boolean", int: "an integer", float: "a decimal", str: "a string", list: "an array"}
    return names.get(type(value), "an object" if isinstance(value, dict) else "null")


def _quote(value: Any) -> str:
    """A scalar as truncated JSON text. For other values only their type: they may be nested too deeply to serialize."""
    text = jsonio.dumps(value) if isinstance(value, str | int | float) else _json_type(value)
    return text if len(text) <= _QUOTE_LIMIT else f"{text[:_QUOTE_LIMIT]}…"
