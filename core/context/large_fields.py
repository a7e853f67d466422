"""Large fields of stored JSON objects: stored separately as contents, and restored when the object is read.

A stored object with large fields begins with the key `$contents`. Its value contains, for each large field, the IDs of
the contents that together are the JSON text of the field; the field itself is null. Clients cannot send such a key,
because they determine no key of a response object or of a packed request, only values.

The text of a field is divided into contents of limited size, so that every statement remains much shorter than its
timeout. The contexts of a chain begin with the same text, so the responses of a chain share most of these contents.
"""

import hashlib
from collections.abc import Mapping

from core import errors, jsonio
from core.context import contents_sql
from core.database import Connection
from core.jsonio import JsonObject

# A request whose JSON text is not longer is stored entirely in the response's row.
MAX_ROW_CHARACTERS = 256 * 1024
# In a longer request, fields whose JSON text is longer than this are stored separately.
MAX_FIELD_CHARACTERS = 32 * 1024
CHUNK_CHARACTERS = 1024 * 1024
_KEY = "$contents"
_PREFIX = f'{{"{_KEY}":'
_EVENT_MARK = f'"response":{_PREFIX}'.encode()
# The mark follows the event's type and sequence number, so it begins before this position.
_EVENT_HEAD_BYTES = 128


def extract_fields(stored_object: JsonObject, contents: dict[str, str]) -> JsonObject:
    """Replace the large fields of an object by references; add their text to `contents` by SHA-256 in hex."""
    texts = {name: jsonio.dumps(value) for name, value in stored_object.items() if isinstance(value, str | list | dict)}
    references = {name: _split_text(text, contents) for name, text in texts.items() if len(text) > MAX_FIELD_CHARACTERS}
    if not references:
        return stored_object
    return {_KEY: references} | stored_object | dict.fromkeys(references)


def _split_text(text: str, contents: dict[str, str]) -> list[str]:
    """Add the chunks of a text to `contents`; return their IDs in order."""
    content_ids = []
    for start in range(0, len(text), CHUNK_CHARACTERS):
        chunk = text[start : start + CHUNK_CHARACTERS]
        content_id = hashlib.sha256(chunk.encode()).hexdigest()
        content_ids.append(content_id)
        contents[content_id] = chunk
    return content_ids


def referenced_ids(stored_object: JsonObject) -> set[str]:
    """Return the IDs of the contents of an object's large fields; empty if it has none."""
    return {content_id for content_ids in stored_object.get(_KEY, {}).values() for content_id in content_ids}


def text_has_references(text: str) -> bool:
    """Whether the JSON text of a stored object has large fields that are stored separately."""
    return text.startswith(_PREFIX)


def render_text(text: str, contents: Mapping[str, str]) -> str:
    """Return the JSON text of an object with its large fields, as it would be without separate storage.

    Args:
        contents: the contents of the object's large fields, by ID.
    """
    return _render_object(jsonio.loads(text), contents) if text_has_references(text) else text


def _render_object(stored_object: JsonObject, contents: Mapping[str, str]) -> str:
    fields = {name: jsonio.json_fragment(text) for name, text in _join_texts(stored_object, contents).items()}
    return jsonio.dumps({name: value for name, value in stored_object.items() if name != _KEY} | fields)


def _join_texts(stored_object: JsonObject, contents: Mapping[str, str]) -> dict[str, str]:
    """Return the JSON text of each large field."""
    return {
        name: "".join(contents[content_id] for content_id in content_ids)
        for name, content_ids in stored_object[_KEY].items()
    }


def load_fields(connection: Connection, response_id: str, stored_object: JsonObject) -> JsonObject:
    """Return an object of a response with its large fields.

    Raises:
        errors.NotFound: the response has just been deleted.
    """
    if _KEY not in stored_object:
        return stored_object
    texts = _join_texts(stored_object, _read_contents(connection, response_id, stored_object))
    fields = {name: jsonio.loads(text) for name, text in texts.items()}
    return {name: value for name, value in stored_object.items() if name != _KEY} | fields


def load_text(connection: Connection, response_id: str, text: str) -> str:
    """Return the JSON text of an object of a response with its large fields.

    Raises:
        errors.NotFound: the response has just been deleted.
    """
    if not text_has_references(text):
        return text
    stored_object: JsonObject = jsonio.loads(text)
    return _render_object(stored_object, _read_contents(connection, response_id, stored_object))


def event_has_references(line: bytes) -> bool:
    """Whether a stored event contains a response object with large fields."""
    return line.find(_EVENT_MARK, 0, _EVENT_HEAD_BYTES) >= 0


def load_event(connection: Connection, response_id: str, line: bytes) -> bytes:
    """Return a stored event for which `event_has_references` is true, with the large fields of its response object.

    Raises:
        errors.NotFound: the response has just been deleted.
    """
    event: JsonObject = jsonio.loads(line)
    text = _render_object(event["response"], _read_contents(connection, response_id, event["response"]))
    return jsonio.dumps(event | {"response": jsonio.json_fragment(text)}).encode()


def _read_contents(connection: Connection, response_id: str, stored_object: JsonObject) -> dict[str, str]:
    content_ids = referenced_ids(stored_object)
    contents = contents_sql.read(connection, response_id, content_ids)
    if contents.keys() != content_ids:
        raise errors.NotFound(f"Response with id '{response_id}' not found.", param="response_id")
    return contents
