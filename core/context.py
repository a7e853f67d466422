"""What a response builds on: its parent's context, its own input, and the items it refers to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core import errors, ids, jsonio
from core.db import Connection
from core.lifecycle import Status, is_terminal
from core.schemas import items, rules
from core.schemas.items import Item, ItemReference
from core.schemas.request import CreateResponse
from core.store import items as item_rows
from core.store import responses as store


@dataclass(frozen=True)
class Context:
    """Every item the model is shown, frozen when the response is created.

    Args:
        own: how many of the items, the last ones, are the request's own input.
        new_ids: of those of them that no other response brought in.
    """

    items: list[Item]
    own: int
    new_ids: list[str]


def build(connection: Connection, project_id: str, request: CreateResponse) -> Context:
    """The context of a new response.

    Raises:
        errors.InvalidRequest: its parent or an item it refers to is not there, or a tool's output has no call.
    """
    inherited = _inherited(connection, project_id, request.previous_response_id)
    own, new_ids = _own(connection, project_id, request)
    # A client that sends its whole history along with the parent means each item once.
    own_ids = {item["id"] for item in own}
    context = [item for item in inherited if item["id"] not in own_ids] + own
    rules.check_calls(context)
    inherited_ids = {item["id"] for item in inherited}
    return Context(context, len(own), [item_id for item_id in new_ids if item_id not in inherited_ids])


def pack(request: CreateResponse, context: Context) -> str:
    """A request and its context as a row keeps them."""
    asked = request.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"input"})
    return jsonio.dumps({"request": asked, "context": context.items, "own": context.own})


def unpack(text: str) -> tuple[CreateResponse, list[Item]]:
    """What `pack` made a text of."""
    packed: dict[str, Any] = jsonio.loads(text)
    return CreateResponse.model_validate(packed["request"]), packed["context"]


def _inherited(connection: Connection, project_id: str, parent_id: str | None) -> list[Item]:
    """The context and the output of a parent; its finished items, where it did not complete."""
    if parent_id is None:
        return []
    parent = store.find(connection, project_id, parent_id) if ids.is_response_id(parent_id) else None
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
    packed = store.request(connection, project_id, parent_id)
    if packed is None:  # deleted this moment
        return _inherited(connection, project_id, parent_id)
    output = jsonio.loads(parent.document)["output"]
    return [*jsonio.loads(packed)["context"], *(item for item in output if item["status"] == "completed")]


def _own(connection: Connection, project_id: str, request: CreateResponse) -> tuple[list[Item], list[str]]:
    """The items of a request's input, and the IDs of those that are not referred to."""
    if request.input is None:
        return [], []
    if isinstance(request.input, str):
        message = items.user_message(request.input)
        return [message], [message["id"]]
    wanted = [item.id for item in request.input if isinstance(item, ItemReference)]
    found = _referred(connection, project_id, wanted)
    own: dict[str, Item] = {}
    for position, item in enumerate(request.input):
        if not isinstance(item, ItemReference):
            normal = items.normal(item)
        elif item.id in found:
            normal = found[item.id]
        else:
            raise errors.InvalidRequest(f"Item with id '{item.id}' not found.", param=f"input[{position}].id")
        own.setdefault(normal["id"], normal)
    return list(own.values()), [item_id for item_id in own if item_id not in found]


def _referred(connection: Connection, project_id: str, item_ids: list[str]) -> Mapping[str, Item]:
    if not item_ids:
        return {}
    found: dict[str, Item] = {}
    for packed, document in item_rows.owners(connection, project_id, item_ids):
        for item in [*jsonio.loads(packed)["context"], *jsonio.loads(document)["output"]]:
            found[item["id"]] = item
    return found
