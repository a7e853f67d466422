"""Builds the context of a response from its parent's context and output, and from the input of its request."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from core import errors, ids, jsonio
from core.context import items_sql, parents_sql, parts, reasoning
from core.database import Connection
from core.jsonio import JsonObject
from core.tenants.seals import Seals
from core.wire import Item, items, rules
from core.wire.items import ItemReference
from core.wire.request import CreateResponse
from core.wire.status import Status, is_terminal

# Maximum number of responses that own the items to which one request refers; each of them is read completely.
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


def is_standalone(request: CreateResponse) -> bool:
    """Whether a request has neither a parent nor references to items of other responses."""
    if request.previous_response_id is not None:
        return False
    return not isinstance(request.input, list) or not any(isinstance(item, ItemReference) for item in request.input)


def build(connection: Connection | None, project_id: str, request: CreateResponse, seals: Seals) -> Context:
    """Build the context of a new response.

    Args:
        connection: may be None if the request is standalone.

    Raises:
        errors.InvalidRequest: the parent does not exist or has not ended, a referenced item does not exist, a tool
            output has no call, there are too many images or files, or encrypted content is not from this server.
    """
    context = _inherited_items(connection, project_id, request.previous_response_id)
    inherited_count = len(context)
    items_by_id = {item["id"]: item for item in context}
    new_ids: list[str] = []
    contents: dict[str, str] = {}
    for input_item, is_reference in _input_items(connection, project_id, request, seals):
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


def pack(request: CreateResponse, context: Context) -> str:
    """Serialize a request and its context as JSON text for the response's row."""
    parameters = request.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"input", "prompt"})
    return jsonio.dumps({"request": parameters, "context": context.items, "own": context.input_count})


def unpack(text: str) -> tuple[CreateResponse, list[Item]]:
    """Parse the result of `pack`; return the request and the items of its context."""
    packed_request: JsonObject = jsonio.loads(text)
    return CreateResponse.model_validate(packed_request["request"]), packed_request["context"]


def _inherited_items(connection: Connection | None, project_id: str, parent_id: str | None) -> list[Item]:
    """Return the context of a parent, followed by the completed items of its output."""
    if parent_id is None:
        return []
    assert connection is not None
    parent = parents_sql.find(connection, project_id, parent_id) if ids.is_response_id(parent_id) else None
    if parent is None:
        raise errors.InvalidRequest(
            f"Previous response with id '{parent_id}' not found.",
            param="previous_response_id",
            code="previous_response_not_found",
        )
    if not is_terminal(Status(parent.status)):
        raise errors.InvalidRequest(
            f"Previous response with id '{parent_id}' is still {parent.status}.",
            param="previous_response_id",
            code="previous_response_not_completed",
        )
    output = jsonio.loads(parent.document)["output"]
    return [*jsonio.loads(parent.request)["context"], *(item for item in output if item["status"] == "completed")]


def _input_items(
    connection: Connection | None, project_id: str, request: CreateResponse, seals: Seals
) -> Iterator[tuple[Item, bool]]:
    """Yield each item of a request's input with a flag: whether the request only refers to the item."""
    if request.input is None:
        return
    if isinstance(request.input, str):
        yield items.user_message(request.input), False
        return
    reference_ids = {item.id for item in request.input if isinstance(item, ItemReference)}
    referenced_items = _find_items(connection, project_id, reference_ids)
    for position, item in enumerate(request.input):
        if not isinstance(item, ItemReference):
            input_item = items.normalize_item(item)
            reasoning.check_item(input_item, seals, project_id=project_id, param=f"input[{position}]")
            yield input_item, False
        elif item.id in referenced_items:
            yield referenced_items[item.id], True
        else:
            raise errors.InvalidRequest(f"Item with id '{item.id}' not found.", param=f"input[{position}].id")


def _find_items(connection: Connection | None, project_id: str, item_ids: set[str]) -> dict[str, Item]:
    if not item_ids:
        return {}
    assert connection is not None
    owners = items_sql.find_owners(connection, project_id, item_ids, limit=OWNERS_LIMIT + 1)
    if len(owners) > OWNERS_LIMIT:
        raise errors.InvalidRequest(f"The referenced items are from more than {OWNERS_LIMIT} responses.", param="input")
    items_by_id: dict[str, Item] = {}
    for owned_ids, packed_request, document in owners:
        response_items = [*jsonio.loads(packed_request)["context"], *jsonio.loads(document)["output"]]
        items_by_id |= {item["id"]: item for item in response_items if item["id"] in owned_ids}
    return items_by_id
