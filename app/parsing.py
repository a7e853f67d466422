"""Reads, decodes and validates request bodies; errors name the invalid field."""

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
from core.responses.create import Repeat
from core.wire.request import UNSUPPORTED, CreateResponse

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

Schema = TypeVar("Schema", bound=BaseModel)

# Pydantic's error types for values of the wrong type, with the expected type.
_WRONG_TYPES = {
    "string_type": "a string",
    "int_type": "an integer",
    "float_type": "a number",
    "bool_type": "a boolean",
    "list_type": "an array",
    "dict_type": "an object",
    "model_type": "an object",
}
# The expected type if the error is in the branch of a union that its discriminator chooses for all other types.
_OR = {"<list>": "a string or an array", "<word>": "a string or an object"}
# Pydantic's other error types, with the error code and the message.
_WRONG_VALUES = {
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
# Errors of union discriminators. The cause is the `type` of the reported value.
_UNKNOWN_TYPES = frozenset({"unknown_item", "unknown_part", "unknown_tool", "unknown_choice", "unknown_format"})
# Parameters of other vendors' servers. They have no effect here, and strict mode accepts them.
_IGNORED = frozenset({"access_programs", "image", "client_metadata"})
_KNOWN = frozenset(CreateResponse.model_fields) | UNSUPPORTED | _IGNORED
KEY_LIMIT = 255
_TOO_DEEP = "depth limit exceeded"  # orjson's message
_LEVELS = 200  # below orjson's limits, so every body that orjson rejects has more
_SHOWN = 100  # maximum characters of a client's value quoted in an error message


def create_response(body: dict[str, Any], *, strict: bool) -> CreateResponse:
    """Validate the body of a create.

    Args:
        strict: whether to reject parameters that the API does not have; otherwise they are ignored.

    Raises:
        errors.InvalidRequest: a parameter is invalid, not supported, or unknown in strict mode.
    """
    if strict:
        _refuse_unknown(body)
    for name in sorted(UNSUPPORTED):
        if body.get(name) is not None:
            raise errors.InvalidRequest(f"'{name}' is not supported.", param=name, code="unsupported_parameter")
    if body.get("service_tier") == "over-limit":
        raise errors.InvalidRequest(
            "service_tier 'over-limit' cannot be requested; only the server assigns it.", param="service_tier"
        )
    return validate(CreateResponse, body)


def repeat(exchange: Exchange, body: dict[str, Any]) -> Repeat | None:
    """The idempotency key of a create, with the hash of its body; None without an `Idempotency-Key` header.

    Raises:
        errors.InvalidRequest: the key is empty, longer than `KEY_LIMIT` or not printable.
    """
    header = exchange.header("Idempotency-Key")
    if header is None:
        return None
    key = header.strip()
    if not 0 < len(key) <= KEY_LIMIT or not key.isprintable():
        raise errors.InvalidRequest(f"An Idempotency-Key must have 1 to {KEY_LIMIT} printable characters.")
    canonical = orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
    return Repeat(key, hashlib.sha256(canonical).digest())


def _refuse_unknown(body: dict[str, Any]) -> None:
    for name in body:
        if name not in _KNOWN:
            raise errors.InvalidRequest(
                f"Unknown parameter: '{name[:_SHOWN]}'.", param=name[:_SHOWN], code="unknown_parameter"
            )


def json_body(exchange: Exchange) -> dict[str, Any]:
    """Read the request body as a JSON object.

    Raises:
        errors.InvalidRequest: the body is not a JSON object.
        errors.TooLarge: the body exceeds the size limit.
        errors.Busy: no thread is available to wait for the body.
    """
    limit = exchange.core.settings.body_limit_bytes
    return read_json(exchange.environ, limit, exchange.core.waiting.upload())


def read_json(environ: "WSGIEnvironment", limit: int, upload: AbstractContextManager[object]) -> dict[str, Any]:
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
            f"Content-Encoding '{encoding[:_SHOWN]}' is not supported: send plain JSON or gzip."
        )
    with upload:
        raw = _bytes(environ, limit)
    return decoded(_inflated(raw, limit) if encoding.lower() == "gzip" else raw)


def decoded(raw: bytes) -> dict[str, Any]:
    """Decode bytes as a JSON object.

    Raises:
        errors.InvalidRequest: they are not a JSON object, or it is nested too deeply.
    """
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        if error.msg == _TOO_DEEP:
            raise _too_deep(raw) from error
        problem = "it is not UTF-8" if error.msg.startswith("str is not valid UTF-8") else error.msg
        raise errors.InvalidRequest(
            f"We could not parse the JSON body of your request: {problem} at line {error.lineno} column {error.colno}."
        ) from error
    try:
        orjson.dumps(_nested(body))
    except TypeError as error:
        raise _too_deep(raw) from error
    if not isinstance(body, dict):
        raise errors.InvalidRequest(f"The body must be a JSON object, not {_type(body)}.", code="invalid_type")
    return body


def _too_deep(raw: bytes) -> errors.InvalidRequest:
    return errors.InvalidRequest("The body is nested too deeply.", param=nesting.deep_param(raw, _LEVELS))


def _too_large(limit: int) -> errors.TooLarge:
    return errors.TooLarge(f"The request body exceeds this server's limit of {limit} bytes.")


def _inflated(packed: bytes, limit: int) -> bytes:
    """Decompress a gzip body, but stop as soon as the result exceeds `limit` bytes."""
    unpacking = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        body = unpacking.decompress(packed, limit + 1)
    except zlib.error as error:
        raise errors.InvalidRequest("The body is not valid gzip, although its Content-Encoding is gzip.") from error
    if len(body) > limit:
        raise _too_large(limit)
    if not unpacking.eof or unpacking.unused_data:
        raise errors.InvalidRequest("The body must be a single, complete gzip stream.")
    return body


def _bytes(environ: "WSGIEnvironment", limit: int) -> bytes:
    """Read a body. One with a Content-Length is read directly: Werkzeug's stream costs more than parsing its JSON."""
    stated: str = environ.get("CONTENT_LENGTH", "")
    if not stated.isdecimal():
        return _bytes_without_length(environ, limit)
    left = int(stated)
    if left > limit:
        raise _too_large(limit)
    pieces = []
    while left and (piece := environ["wsgi.input"].read(left)):
        pieces.append(piece)
        left -= len(piece)
    if left:
        raise errors.InvalidRequest("The request body is shorter than its Content-Length.")
    return b"".join(pieces)


def _bytes_without_length(environ: "WSGIEnvironment", limit: int) -> bytes:
    request = Request(environ)
    request.max_content_length = limit
    try:
        body = request.get_data(cache=False)
    except RequestEntityTooLarge as error:
        raise _too_large(limit) from error
    if len(body) >= limit:
        raise _too_large(limit)  # Werkzeug may stop reading at the limit without an error
    return body


def validate(schema: type[Schema], body: dict[str, Any]) -> Schema:
    """Validate a body against a schema.

    Raises:
        errors.InvalidRequest: the body does not match; the error names the first invalid field.
    """
    try:
        return schema.model_validate(body)
    except ValidationError as error:
        _refuse(error.errors(include_url=False)[0])


def _refuse(detail: ErrorDetails) -> NoReturn:
    kind, value, param = detail["type"], detail["input"], _path(detail["loc"])
    limits = detail.get("ctx", {})
    if kind in _UNKNOWN_TYPES:
        param, value = f"{param}.type", value.get("type")
        limits = {"expected": detail["msg"]}
        kind = "missing" if value is None else "literal_error"
    if kind == "literal_error" and not isinstance(value, str):
        kind = "string_type"
    if kind in _WRONG_TYPES:
        expected = _OR.get(str(detail["loc"][-1]), _WRONG_TYPES[kind])
        message = f"Invalid type for '{param}': expected {expected}, but got {_type(value)}."
        raise errors.InvalidRequest(message, param=param, code="invalid_type")
    code, message = _WRONG_VALUES.get(kind, ("invalid_value", "Invalid value for '{param}'."))
    bound = limits.get("ge", limits.get("le"))
    facts = limits | {
        "param": param,
        "value": _shown(value),
        "size": len(value) if isinstance(value, str) else None,
        "number": "integer" if isinstance(bound, int) else "decimal",
    }
    raise errors.InvalidRequest(message.format_map(facts), param=param, code=code.format_map(facts))


def _path(place: tuple[int | str, ...]) -> str:
    """A location in the body, in the API's notation: `input[0].content`, `metadata.team`."""
    if place[0] == "metadata":
        # An error in a key is reported for `metadata` itself.
        return f"metadata.{place[1]}" if len(place) == 2 else "metadata"
    path = ""
    for part in place:
        if isinstance(part, int):
            path += f"[{part}]"
        elif not part.startswith("<"):  # the label of a union branch, which is internal
            path += f".{part}" if path else part
    return path


def _nested(body: Any) -> Any:
    """The body as deep inside other objects as it is when it is stored."""
    for _ in range(8):
        body = [body]
    return body


def _type(value: Any) -> str:
    """The JSON name of a value's type, with its article."""
    names = {bool: "a boolean", int: "an integer", float: "a decimal", str: "a string", list: "an array"}
    return names.get(type(value), "an object" if isinstance(value, dict) else "null")


def _shown(value: Any) -> str:
    """A scalar as JSON text, truncated. For anything else only its type: it may be nested too deeply to serialize."""
    text = jsonio.dumps(value) if isinstance(value, str | int | float) else _type(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
