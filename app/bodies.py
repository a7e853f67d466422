"""Reads the JSON body of a request, and checks its size, compression, encoding, nesting and names."""

import json
import re
import zlib
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any
from wsgiref.types import WSGIEnvironment

import orjson
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.wrappers import Request

from app.http import QUOTE_LIMIT, Exchange
from app.parsing import json_type, quote_value
from core import errors
from core.jsonio import JsonObject
from core.responses.large_requests import LARGE_BYTES

_JSON_TYPE = "application/json"
# Only the beginning of a body is searched for the parameter that is nested too deeply, because the request is rejected
# anyway.
_SEARCH_LIMIT_BYTES = 1024 * 1024
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[][{},:]', re.DOTALL)
# Parameters whose keys the client defines. For a value inside such a parameter, the error names the parameter.
_CLIENT_DATA = re.compile(r"(text\.format\.schema|tools\[\d+\]\.parameters|metadata)\b")

# More parts of a path than `_CLIENT_DATA` can match.
_MAX_PATH_PARTS = 6

_DEPTH_ERROR_MESSAGE = "depth limit exceeded"  # orjson's message
_NESTING_RESERVE = 8  # levels that surround the body when it is stored
_NESTING_LIMIT = 200  # below orjson's limits, so a body that orjson rejects always exceeds it


def read_json_body(exchange: Exchange) -> JsonObject:
    """Read the request body as a JSON object.

    Raises:
        errors.InvalidRequest: the body is not a JSON object.
        errors.RequestTooLarge: the body exceeds the size limit.
        errors.ServerBusy: no thread is available to wait for the body.
    """
    return decode_body(_read_exchange_body(exchange))


def read_json_body_with_reservation(exchange: Exchange) -> tuple[JsonObject, ExitStack]:
    """Read the request body as `read_json_body` does, but wait for the capacity for a large body before decoding it.

    Returns:
        The body, and the capacity that it occupies, which the caller must release.

    Raises:
        errors.ServerBusy: no thread is available to wait for the body or capacity, or there was no capacity in time.
    """
    body_bytes = _read_exchange_body(exchange)
    # The wait for capacity occupies a thread, as a slow upload does, and must leave threads for polls.
    with exchange.core.wait_slots.upload_slot() if len(body_bytes) >= LARGE_BYTES else nullcontext():
        body_reservation = exchange.core.large_requests.reserve_bytes(len(body_bytes))
    try:
        return decode_body(body_bytes), body_reservation
    except BaseException:
        body_reservation.close()
        raise


def _read_exchange_body(exchange: Exchange) -> bytes:
    limit_bytes = exchange.core.settings.body_limit_bytes
    return read_body(exchange.environ, limit_bytes, exchange.core.wait_slots.upload_slot())


def read_body(environ: WSGIEnvironment, limit_bytes: int, upload_slot: AbstractContextManager[object]) -> bytes:
    """Read the body of a request, and decompress it.

    Args:
        limit_bytes: maximum size of the body, before and after decompression.
        upload_slot: a context manager that is active while the body is read.

    Raises:
        errors.InvalidRequest: the content type or the encoding is not supported, or the body is not valid gzip.
        errors.RequestTooLarge: the body exceeds the size limit, before or after decompression.
    """
    # Granian replaces a value that is not ASCII by an empty one, so an empty value is not treated as an absent header.
    media_type: str = environ.get("CONTENT_TYPE", _JSON_TYPE).partition(";")[0].strip().lower()
    if media_type != _JSON_TYPE:
        raise errors.InvalidRequest("The body must be JSON, sent as Content-Type: application/json.")
    encoding: str = environ.get("HTTP_CONTENT_ENCODING", "identity")
    if encoding.lower() not in {"identity", "gzip"}:
        raise errors.InvalidRequest(
            f"Content-Encoding '{encoding[:QUOTE_LIMIT]}' is not supported: send plain JSON or gzip."
        )
    with upload_slot:
        sent_bytes = _read_bytes(environ, limit_bytes)
    return _decompress(sent_bytes, limit_bytes) if encoding.lower() == "gzip" else sent_bytes


def decode_body(body_bytes: bytes) -> JsonObject:
    """Decode bytes as a JSON object.

    Raises:
        errors.InvalidRequest: the bytes are not a JSON object, it is nested too deeply, an object in it contains a
            name twice, or the name of a parameter is empty or not printable.
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
        nested_bytes = orjson.dumps(_nest_body(body))
    except TypeError as error:
        raise _depth_error(body_bytes) from error
    if not isinstance(body, dict):
        raise errors.InvalidRequest(f"The body must be a JSON object, not {json_type(body)}.", code="invalid_type")
    # Most clients send what orjson would write, which contains no repeated name: comparing costs less than parsing.
    # The slice removes the brackets that `_nest_body` added.
    if nested_bytes[_NESTING_RESERVE:-_NESTING_RESERVE] != body_bytes:
        _reject_repeated_names(body_bytes)
    _reject_invalid_names(body)
    return body


def _reject_repeated_names(body_bytes: bytes) -> None:
    """Reject objects in which a name occurs twice, because parsers differ in which value they use.

    Raises:
        errors.InvalidRequest: an object contains a name twice.
    """
    json.loads(body_bytes, object_pairs_hook=_check_names, parse_int=str, parse_float=str)


def _check_names(pairs: list[tuple[str, object]]) -> None:
    """Check the names of one object; return None instead of the object, so that parsing needs little memory."""
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        name = next(name for name in names if names.count(name) > 1)
        raise errors.InvalidRequest(f"The body contains an object with the name {quote_value(name)} twice.")


def _reject_invalid_names(body: JsonObject) -> None:
    for name in body:
        if not name or not name.isprintable():
            raise errors.InvalidRequest(
                f"The body contains a parameter with the invalid name {quote_value(name)}.",
                code="unknown_parameter",
                param=name[:QUOTE_LIMIT],
            )


def _depth_error(body_bytes: bytes) -> errors.InvalidRequest:
    return errors.InvalidRequest("The body is nested too deeply.", param=find_deep_param(body_bytes, _NESTING_LIMIT))


def _size_error(limit_bytes: int) -> errors.RequestTooLarge:
    return errors.RequestTooLarge(f"The request body exceeds this server's limit of {limit_bytes} bytes.")


def _decompress(compressed: bytes, limit_bytes: int) -> bytes:
    """Decompress a gzip body; stop if the result exceeds `limit_bytes`."""
    decompressor = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        body = decompressor.decompress(compressed, limit_bytes + 1)
    except zlib.error as error:
        raise errors.InvalidRequest("The body is not valid gzip, although its Content-Encoding is gzip.") from error
    if len(body) > limit_bytes:
        raise _size_error(limit_bytes)
    if not decompressor.eof or decompressor.unused_data:
        raise errors.InvalidRequest("The body must be a single, complete gzip stream.")
    return body


def _read_bytes(environ: WSGIEnvironment, limit_bytes: int) -> bytes:
    """Read a body. Only without a Content-Length use Werkzeug's stream, which costs more than parsing the JSON."""
    content_length: str = environ.get("CONTENT_LENGTH", "")
    if not content_length.isdecimal():
        return _read_bytes_without_length(environ, limit_bytes)
    remaining = int(content_length)
    if remaining > limit_bytes:
        raise _size_error(limit_bytes)
    chunks = []
    while remaining and (chunk := environ["wsgi.input"].read(remaining)):
        chunks.append(chunk)
        remaining -= len(chunk)
    if remaining:
        raise errors.InvalidRequest("The request body is shorter than its Content-Length.")
    return b"".join(chunks)


def _read_bytes_without_length(environ: WSGIEnvironment, limit_bytes: int) -> bytes:
    request = Request(environ)
    request.max_content_length = limit_bytes
    try:
        body = request.get_data(cache=False)
    except RequestEntityTooLarge as error:
        raise _size_error(limit_bytes) from error
    if len(body) >= limit_bytes:
        raise _size_error(limit_bytes)  # Werkzeug may stop reading at the limit without an error
    return body


def _nest_body(body: Any) -> Any:
    """Nest the body as deeply as it will be when it is stored, to check that it can be serialized then."""
    for _ in range(_NESTING_RESERVE):
        body = [body]
    return body


def find_deep_param(body_bytes: bytes, max_depth: int) -> str | None:
    """Find the first parameter with more than `max_depth` levels of objects and arrays; None if there is none.

    The search is not recursive, because a client determines the depth of its body.

    Args:
        body_bytes: JSON, possibly invalid.
    """
    path: list[str | int] = []
    last_string: str | None = None
    for match in _TOKEN.finditer(body_bytes, 0, _SEARCH_LIMIT_BYTES):
        token = match[0]
        if token in b"{[":
            if len(path) >= max_depth:
                return _param_name(path)
            path.append("" if token == b"{" else 0)
        elif token in b"}]":
            del path[-1:]  # invalid JSON may close more levels than it opens
        elif token == b"," and path and isinstance(path[-1], int):
            path[-1] += 1
        elif token == b":" and path and last_string is not None:
            path[-1] = last_string
        last_string = token[1:-1].decode(errors="replace") if token[:1] == b'"' else None
    return None


def _param_name(path: list[str | int]) -> str | None:
    """The parameter to report for a path in the body."""
    path_text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path[:_MAX_PATH_PARTS])[1:]
    client_data = _CLIENT_DATA.match(path_text)
    if client_data:
        return client_data[1]
    return path[0] if isinstance(path[0], str) else None
