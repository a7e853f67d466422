"""Bytes of a request's body into a schema, or an error that names the field."""

import hashlib
import zlib
from contextlib import AbstractContextManager
from typing import Any, NoReturn, TypeVar

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

Schema = TypeVar("Schema", bound=BaseModel)

# What pydantic found, as the contract's code and a sentence.
_WRONG_TYPES = {
    "string_type": "a string",
    "int_type": "an integer",
    "float_type": "a number",
    "bool_type": "a boolean",
    "list_type": "an array",
    "dict_type": "an object",
    "model_type": "an object",
}
# Where a union's branch was taken for want of a better one.
_OR = {"<list>": "a string or an array", "<word>": "a string or an object"}
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
        "Invalid '{param}': it has more than the {max_length} items that are allowed.",
    ),
    "too_short": ("array_below_min_length", "Invalid '{param}': it is empty; at least one item is needed."),
    "too_many_pairs": (
        "object_above_max_properties",
        "Invalid '{param}': it has {actual_length} pairs; at most {max_length} are allowed.",
    ),
    "unsupported": ("unsupported_parameter", "'{param}' is not supported."),
    "extra_forbidden": ("unknown_parameter", "Unknown parameter: '{param}'."),
    "variable_name": (
        "invalid_value",
        "Invalid '{param}': the name of a variable has 1 to 64 letters, digits, '_' or '-'.",
    ),
    "greater_than_equal": ("{number}_below_min_value", "Invalid '{param}': {value} is less than {ge}."),
    "less_than_equal": ("{number}_above_max_value", "Invalid '{param}': {value} is more than {le}."),
}
# What these found is wrong with the `type` of the value they name.
_UNKNOWN_TYPES = frozenset({"unknown_item", "unknown_part", "unknown_tool", "unknown_choice", "unknown_format"})
# Parameters of other vendors' servers, which mean nothing here.
_IGNORED = frozenset({"access_programs", "image", "client_metadata"})
_KNOWN = frozenset(CreateResponse.model_fields) | UNSUPPORTED | _IGNORED
KEY_LIMIT = 255
_TOO_DEEP = "depth limit exceeded"  # what orjson says of it
_LEVELS = 200  # every body that orjson finds too deep has more
_SHOWN = 100  # characters of a client's own value in a message


def create_response(body: dict[str, Any], *, strict: bool) -> CreateResponse:
    """The body of a create, checked.

    Args:
        strict: refuse parameters that the API does not have; else they are ignored.

    Raises:
        errors.InvalidRequest: a parameter is wrong, unknown in value or not served.
    """
    if strict:
        _refuse_unknown(body)
    for name in sorted(UNSUPPORTED):
        if body.get(name) is not None:
            raise errors.InvalidRequest(f"'{name}' is not supported.", param=name, code="unsupported_parameter")
    if body.get("service_tier") == "over-limit":
        raise errors.InvalidRequest(
            "service_tier 'over-limit' cannot be asked for; only a response may carry it.", param="service_tier"
        )
    return validate(CreateResponse, body)


def repeat(exchange: Exchange, body: dict[str, Any]) -> Repeat | None:
    """How the client repeats this create, if it says so.

    Raises:
        errors.InvalidRequest: its Idempotency-Key is empty or too long.
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
    """The body as a JSON object.

    Raises:
        errors.InvalidRequest: it is something else.
        errors.TooLarge: it is over the limit.
        errors.Busy: no thread is free to wait for it.
    """
    return read_json(exchange.request, exchange.core.waiting.upload())


def read_json(request: Request, upload: AbstractContextManager[object]) -> dict[str, Any]:
    """The body of a request as a JSON object.

    Args:
        upload: entered while the body is read.

    Raises:
        errors.InvalidRequest: it is something else.
        errors.TooLarge: it is over the limit.
    """
    if request.mimetype not in {"application/json", ""}:
        raise errors.InvalidRequest("The body must be JSON, sent as Content-Type: application/json.")
    encoding = request.headers.get("Content-Encoding", "identity")
    if encoding.lower() not in {"identity", "", "gzip"}:
        raise errors.InvalidRequest(
            f"Content-Encoding '{encoding[:_SHOWN]}' is not supported: send plain JSON or gzip."
        )
    with upload:
        raw = _bytes(request)
    return decoded(_inflated(raw, request.max_content_length or 0) if encoding.lower() == "gzip" else raw)


def decoded(raw: bytes) -> dict[str, Any]:
    """Bytes as a JSON object.

    Raises:
        errors.InvalidRequest: they are something else.
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
    return errors.TooLarge(f"The request's body is over this server's limit of {limit} bytes.")


def _inflated(packed: bytes, limit: int) -> bytes:
    """An unpacked body, at most `limit` bytes of which are unpacked."""
    unpacking = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        body = unpacking.decompress(packed, limit + 1)
    except zlib.error as error:
        raise errors.InvalidRequest("The body is not what its Content-Encoding says: gzip.") from error
    if len(body) > limit:
        raise _too_large(limit)
    if not unpacking.eof or unpacking.unused_data:
        raise errors.InvalidRequest("The body must be one whole stream of gzip.")
    return body


def _bytes(request: Request) -> bytes:
    limit, length = request.max_content_length or 0, request.content_length
    try:
        body = request.get_data(cache=False)
    except RequestEntityTooLarge as error:
        raise _too_large(limit) from error
    if length is None and len(body) >= limit:
        raise _too_large(limit)  # without a length it is read up to the limit, and no error says so
    if length is not None and len(body) < length:
        raise errors.InvalidRequest("The request's body ended before its Content-Length.")
    return body


def validate(schema: type[Schema], body: dict[str, Any]) -> Schema:
    """A body, checked.

    Raises:
        errors.InvalidRequest: it does not fit; the first field that does not is named.
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
    """A place in the body as the contract writes it: `input[0].content`, `metadata.team`."""
    if place[0] == "metadata":
        # A key that is itself wrong is `metadata`'s error.
        return f"metadata.{place[1]}" if len(place) == 2 else "metadata"
    path = ""
    for part in place:
        if isinstance(part, int):
            path += f"[{part}]"
        elif not part.startswith("<"):  # a branch of a union, which no client knows of
            path += f".{part}" if path else part
    return path


def _nested(body: Any) -> Any:
    """The body as deep in other objects as it will be written."""
    for _ in range(8):
        body = [body]
    return body


def _type(value: Any) -> str:
    """What JSON calls a value's type."""
    names = {bool: "a boolean", int: "an integer", float: "a decimal", str: "a string", list: "an array"}
    return names.get(type(value), "an object" if isinstance(value, dict) else "null")


def _shown(value: Any) -> str:
    """A client's own text or number, as JSON; what nests is not for a message, and may nest too deep to be written."""
    text = jsonio.dumps(value) if isinstance(value, str | int | float) else _type(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
