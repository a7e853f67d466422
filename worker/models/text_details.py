"""Converts the log probabilities and annotations of a text from a model server to the wire format."""

import math
from typing import Any

from core.jsonio import JsonObject

_MIN_LOGPROB = -9999.0  # OpenAI's value for a negligible probability
_INDEX_LIMIT = 2**53  # larger indexes in annotations are errors of the server

# The fields of each annotation type; an annotation without the first field is dropped.
_ANNOTATION_FIELDS: dict[str, dict[str, type]] = {
    "url_citation": {"url": str, "title": str, "start_index": int, "end_index": int},
    "file_citation": {"file_id": str, "filename": str, "index": int},
    "file_path": {"file_id": str, "index": int},
    "container_file_citation": {
        "container_id": str,
        "file_id": str,
        "filename": str,
        "start_index": int,
        "end_index": int,
    },
}


def convert_logprobs(value: Any, max_alternatives: int) -> tuple[JsonObject, ...]:
    """Convert the log probabilities of a text's tokens to the wire format; invalid values are replaced.

    Args:
        value: the list from the model server.
        max_alternatives: requested number of alternatives per token; some servers send more.
    """
    logprobs: list[JsonObject] = []
    for token in _select_objects(value):
        alternatives = _select_objects(token.get("top_logprobs"))[:max_alternatives]
        logprobs.append(_convert_token(token) | {"top_logprobs": [_convert_token(other) for other in alternatives]})
    return tuple(logprobs)


def _select_objects(value: Any) -> list[JsonObject]:
    """Return the elements of a list that are objects; empty if the value is not a list."""
    return [element for element in value if isinstance(element, dict)] if isinstance(value, list) else []


def _convert_token(fields: JsonObject) -> JsonObject:
    token = str(fields.get("token", ""))
    token_bytes = fields.get("bytes")
    if not isinstance(token_bytes, list) or not all(isinstance(byte, int) and 0 <= byte < 256 for byte in token_bytes):
        token_bytes = list(token.encode(errors="replace"))
    logprob = fields.get("logprob")
    if isinstance(logprob, bool) or not isinstance(logprob, int | float) or not math.isfinite(logprob):
        logprob = _MIN_LOGPROB
    return {"token": token, "bytes": token_bytes, "logprob": float(logprob)}


def convert_annotation(value: Any) -> JsonObject | None:
    """Convert an annotation to the wire format; return None if its type is unknown or its first field is missing.

    Other missing or invalid fields get an empty string or 0.

    Args:
        value: the object from the model server. Its fields may be nested under the name of its type.
    """
    if not isinstance(value, dict) or value.get("type") not in _ANNOTATION_FIELDS:
        return None
    annotation_type = value["type"]
    fields: JsonObject = value[annotation_type] if isinstance(value.get(annotation_type), dict) else value
    required_name = next(iter(_ANNOTATION_FIELDS[annotation_type]))
    if not isinstance(fields.get(required_name), str):
        return None
    annotation: JsonObject = {"type": annotation_type}
    for name, field_type in _ANNOTATION_FIELDS[annotation_type].items():
        field_value: Any = fields.get(name)
        if not isinstance(field_value, field_type) or (
            isinstance(field_value, int) and not 0 <= field_value < _INDEX_LIMIT
        ):
            field_value = field_type()
        annotation[name] = field_value
    return annotation
