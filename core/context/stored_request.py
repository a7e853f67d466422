"""A request and its response object as they are stored: as JSON text, with large fields stored separately."""

from collections.abc import Mapping
from dataclasses import dataclass

from core import jsonio
from core.context import context, large_fields, parts
from core.context.context import Context
from core.wire import Document
from core.wire.request import CreateResponse


@dataclass(frozen=True)
class StoredRequest:
    """A request and its response object in the form in which they are stored.

    Args:
        packed: the packed request and context, as JSON text.
        document: the response object at its creation; only its tier may still change.
        contents: the separately stored contents of the request and the document, by SHA-256 in hex.
        content_ids: the IDs of all contents to which the request and the document refer.
        item_ids: the IDs of the items to which other requests may refer.
    """

    packed: str
    document: Document
    contents: Mapping[str, str]
    content_ids: frozenset[str]
    item_ids: list[str]


def prepare_request(request: CreateResponse, new_context: Context, document: Document) -> StoredRequest:
    """Serialize a request, and extract its large fields if it is long."""
    packed_request = context.pack(request, new_context)
    packed = jsonio.dumps(packed_request)
    content_ids = parts.references(new_context.items)
    item_ids = new_context.new_ids if request.store else []
    # Only the document contains the values of a prompt's variables, so their length is added.
    prompt_length = len(jsonio.dumps(document["prompt"])) if "prompt" in document else 0
    if len(packed) + prompt_length <= large_fields.MAX_ROW_CHARACTERS:
        return StoredRequest(packed, document, new_context.contents, frozenset(content_ids), item_ids)
    contents = dict(new_context.contents)
    packed_request = context.extract_large_fields(packed_request, contents)
    document = large_fields.extract_fields(document, contents)
    content_ids |= context.referenced_ids(packed_request) | large_fields.referenced_ids(document)
    return StoredRequest(jsonio.dumps(packed_request), document, contents, frozenset(content_ids), item_ids)
