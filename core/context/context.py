"""Builds the context of a response from its parent's context and output, and from the input of its request."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from core import errors, ids, jsonio
from core.context import items_sql, large_fields, parents_sql, parts, reasoning
from core.database import Connection
from core.jsonio import JsonObject
from core.tenants.seals import Seals
from core.wire import Item, items, rules
from core.wire.items import ItemReference
from core.wire.request import CreateResponse
from core.wire.status import Status, is_terminal

# Maximum number of responses that contain the items to which one request refers; each of them is read completely.
OWNERS_LIMIT = 100


@dataclass(frozen=True)
class Context:
    """All items that are sent to the model, fixed when the response is created.

    Args:
        input_count: number of items at the end that are the request's input.
        new_ids: IDs of the input items that do not come from another response.
        contents: the separately stored contents of the input, by SHA-256 in hex.
    """

    items: list[Item]
    input_count: int
    new_ids: list[str]
    contents: dict[str, str] = field(default_factory=dict)


class LargeContextFound(Exception):
    """A response whose context is needed has a large context, which the caller did not allow to be read."""


def is_standalone(request: CreateResponse) -> bool:
    """Whether a request has neither a parent nor references to items of other responses."""
    if request.previous_response_id is not None:
        return False
    return not isinstance(request.input, list) or not any(isinstance(item, ItemReference) for item in request.input)


def build(
    connection: Connection | None,
    project_id: str,
    request: CreateResponse,
    seals: Seals,
    *,
    reads_large_contexts: bool = False,
) -> Context:
    """Build the context of a new response.

    Args:
        connection: may be None if the request is standalone.
        reads_large_contexts: whether to read contexts of earlier responses that are stored as contents.

    Raises:
        LargeContextFound: such a context is needed, and `reads_large_contexts` is false.
        errors.InvalidRequest: the parent does not exist or has not ended, a referenced item does not exist, a tool
            output has no call, there are too many images or files, or encrypted content is not from this server.
    """
    reader = _ContextReader(connection, reads_large_contexts)
    context = _inherited_items(reader, project_id, request.previous_response_id)
    inherited_count = len(context)
    items_by_id = {item["id"]: item for item in context}
    new_ids: list[str] = []
    contents: dict[str, str] = {}
    for input_item, is_reference in _input_items(reader, project_id, request, seals):
        item = parts.extract_contents(input_item, contents)
        earlier_item = items_by_id.get(item["id"])
        if earlier_item is not None:
            if is_reference or earlier_item == item:
                continue  # the client resent its history: each item keeps its original position
            item = items.copy_with_new_id(item)
        items_by_id[item["id"]] = item
        context.append(item)
        if not is_reference:
            new_ids.append(item["id"])
    rules.check_calls(context)
    parts.check_count(context)
    return Context(context, len(context) - inherited_count, new_ids, contents)


def pack(request: CreateResponse, context: Context) -> JsonObject:
    """Return a request and its context as the JSON object in the response's row."""
    parameters = request.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"input", "prompt"})
    return {"request": parameters, "context": context.items, "own": context.input_count}


def extract_large_fields(packed_request: JsonObject, contents: dict[str, str]) -> JsonObject:
    """Replace large parameters and a large context by references; add their text to `contents` by SHA-256 in hex."""
    parameters = large_fields.extract_fields(packed_request["request"], contents)
    context = large_fields.extract_fields({"context": packed_request["context"]}, contents)
    return context | {"request": parameters, "own": packed_request["own"]}


def referenced_ids(packed_request: JsonObject) -> set[str]:
    """Return the IDs of the contents of a packed request's large fields; empty if it has none."""
    return large_fields.referenced_ids(packed_request) | large_fields.referenced_ids(packed_request["request"])


class UnpackedRequest(NamedTuple):
    """A request and the items of its context.

    Args:
        is_complete: whether the request has no large fields; if it has, they are absent.
    """

    request: CreateResponse
    items: list[Item]
    is_complete: bool = True


def unpack(text: str) -> UnpackedRequest:
    """Parse the JSON text of a packed request, without its large fields."""
    packed_request: JsonObject = jsonio.loads(text)
    request = CreateResponse.model_validate(packed_request["request"])
    return UnpackedRequest(request, packed_request["context"] or [], not referenced_ids(packed_request))


def load_request(connection: Connection, response_id: str, text: str) -> UnpackedRequest:
    """Parse the JSON text of a response's packed request, and read its large fields.

    Raises:
        errors.NotFound: the response has just been deleted.
    """
    packed_request: JsonObject = jsonio.loads(text)
    parameters = large_fields.load_fields(connection, response_id, packed_request["request"])
    items = large_fields.load_fields(connection, response_id, packed_request)["context"]
    return UnpackedRequest(CreateResponse.model_validate(parameters), items)


def load_items(connection: Connection, response_id: str, text: str) -> list[Item]:
    """Return the items of a response's context from the JSON text of its packed request.

    Raises:
        errors.NotFound: the response has just been deleted.
    """
    items: list[Item] = large_fields.load_fields(connection, response_id, jsonio.loads(text))["context"]
    return items


@dataclass(frozen=True)
class _ContextReader:
    """Reads contexts of earlier responses; the connection is None if the request is standalone."""

    optional_connection: Connection | None
    reads_large_contexts: bool

    @property
    def connection(self) -> Connection:
        assert self.optional_connection is not None
        return self.optional_connection

    def load_items(self, response_id: str, packed_request: str) -> list[Item]:
        """Return the items of a response's context.

        Raises:
            LargeContextFound: the context is large, and must not be read.
            errors.NotFound: the response has just been deleted.
        """
        if not self.reads_large_contexts and large_fields.text_has_references(packed_request):
            raise LargeContextFound
        return load_items(self.connection, response_id, packed_request)


def _inherited_items(reader: _ContextReader, project_id: str, parent_id: str | None) -> list[Item]:
    """Return the context of a parent, followed by the completed items of its output."""
    if parent_id is None:
        return []
    parent = parents_sql.find(reader.connection, project_id, parent_id) if ids.is_response_id(parent_id) else None
    if parent is None:
        raise _unknown_parent(parent_id)
    if not is_terminal(Status(parent.status)):
        raise errors.InvalidRequest(
            f"Previous response with id '{parent_id}' is still {parent.status}.",
            param="previous_response_id",
            code="previous_response_not_completed",
        )
    output = jsonio.loads(parent.document)["output"]
    try:
        context = reader.load_items(parent_id, parent.request)
    except errors.NotFound as error:
        raise _unknown_parent(parent_id) from error
    return [*context, *(item for item in output if item["status"] == "completed")]


def _unknown_parent(parent_id: str) -> errors.InvalidRequest:
    return errors.InvalidRequest(
        f"Previous response with id '{parent_id}' not found.",
        param="previous_response_id",
        code="previous_response_not_found",
    )


def _input_items(
    reader: _ContextReader, project_id: str, request: CreateResponse, seals: Seals
) -> Iterator[tuple[Item, bool]]:
    """Yield each item of a request's input with a flag: whether the request only refers to the item."""
    if request.input is None:
        return
    if isinstance(request.input, str):
        yield items.user_message(request.input), False
        return
    reference_ids = {item.id for item in request.input if isinstance(item, ItemReference)}
    referenced_items = _find_items(reader, project_id, reference_ids)
    for position, item in enumerate(request.input):
        if not isinstance(item, ItemReference):
            input_item = items.normalize_item(item)
            reasoning.check_item(input_item, seals, project_id=project_id, param=f"input[{position}]")
            yield input_item, False
        elif item.id in referenced_items:
            yield referenced_items[item.id], True
        else:
            raise errors.InvalidRequest(f"Item with id '{item.id}' not found.", param=f"input[{position}].id")


def _find_items(reader: _ContextReader, project_id: str, item_ids: set[str]) -> dict[str, Item]:
    if not item_ids:
        return {}
    owners = items_sql.find_owners(reader.connection, project_id, item_ids, limit=OWNERS_LIMIT + 1)
    if len(owners) > OWNERS_LIMIT:
        raise errors.InvalidRequest(f"The referenced items are from more than {OWNERS_LIMIT} responses.", param="input")
    items_by_id: dict[str, Item] = {}
    for owner in owners:
        with contextlib.suppress(errors.NotFound):  # the owner has just been deleted, and its items with it
            response_items = [
                *reader.load_items(owner.response_id, owner.request),
                *jsonio.loads(owner.document)["output"],
            ]
            items_by_id |= {item["id"]: item for item in response_items if item["id"] in owner.item_ids}
    return items_by_id
