"""Builds the context of a response from its parent's context, its own input and the items it refers to."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from core import errors, ids, jsonio
from core.context import items_sql as item_rows
from core.context import parents_sql, parts, reasoning
from core.database import Connection
from core.tenants.seals import Seals
from core.wire import items, rules
from core.wire.items import Item, ItemReference
from core.wire.request import CreateResponse
from core.wire.status import Status, is_terminal

# Maximum number of responses to whose items one request may refer: each of these responses is read completely.
OWNERS_LIMIT = 100


@dataclass(frozen=True)
class Context:
    """All items that the model is shown, fixed when the response is created.

    Args:
        own: number of items at the end that are the request's own input.
        new_ids: IDs of those own items that do not come from another response.
        contents: the separately stored content of the own input, by its SHA-256 in hex.
    """

    items: list[Item]
    own: int
    new_ids: list[str]
    contents: dict[str, str] = field(default_factory=dict)


def stands_alone(request: CreateResponse) -> bool:
    """Whether a request has neither a parent nor references to items of other responses."""
    own = request.input
    return request.previous_response_id is None and (
        own is None or isinstance(own, str) or not any(isinstance(item, ItemReference) for item in own)
    )


def build(connection: Connection | None, project_id: str, request: CreateResponse, seals: Seals) -> Context:
    """Build the context of a new response.

    Args:
        connection: may be None if the request stands alone.

    Raises:
        errors.InvalidRequest: its parent does not exist or has not ended, an item it refers to does not exist, a tool
            output has no call, there are too many images or files, or an encrypted content is not from this server.
    """
    context = _inherited(connection, project_id, request.previous_response_id)
    inherited = len(context)
    known = {item["id"]: item for item in context}
    new_ids: list[str] = []
    contents: dict[str, str] = {}
    for own_item, referred in _own(connection, project_id, request, seals):
        item = parts.set_apart(own_item, contents)
        there = known.get(item["id"])
        if there is not None and (referred or there == item):
            continue  # a client that resends its history means each item once, at its original position
        one = item if there is None else items.copy_with_new_id(item)
        known[one["id"]] = one
        context.append(one)
        if not referred:
            new_ids.append(one["id"])
    rules.check_calls(context)
    parts.check_count(context)
    return Context(context, len(context) - inherited, new_ids, contents)


def pack(request: CreateResponse, context: Context) -> str:
    """The request and its context as JSON text, as stored in the response's row."""
    asked = request.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"input", "prompt"})
    return jsonio.dumps({"request": asked, "context": context.items, "own": context.own})


def unpack(text: str) -> tuple[CreateResponse, list[Item]]:
    """The request and the context of a text from `pack`."""
    packed: dict[str, Any] = jsonio.loads(text)
    return CreateResponse.model_validate(packed["request"]), packed["context"]


def _inherited(connection: Connection | None, project_id: str, parent_id: str | None) -> list[Item]:
    """The context and the output of a parent. Of an output that is not complete, only the completed items."""
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


def _own(
    connection: Connection | None, project_id: str, request: CreateResponse, seals: Seals
) -> Iterator[tuple[Item, bool]]:
    """The items of a request's input, each with whether the request only refers to it."""
    if request.input is None:
        return
    if isinstance(request.input, str):
        yield items.user_message(request.input), False
        return
    wanted = {item.id for item in request.input if isinstance(item, ItemReference)}
    found = _referred(connection, project_id, wanted)
    for position, item in enumerate(request.input):
        if not isinstance(item, ItemReference):
            normal = items.normal(item)
            reasoning.check(normal, seals, project_id=project_id, param=f"input[{position}]")
            yield normal, False
        elif item.id in found:
            yield found[item.id], True
        else:
            raise errors.InvalidRequest(f"Item with id '{item.id}' not found.", param=f"input[{position}].id")


def _referred(connection: Connection | None, project_id: str, item_ids: set[str]) -> dict[str, Item]:
    if not item_ids:
        return {}
    assert connection is not None
    owners = item_rows.owners(connection, project_id, item_ids, limit=OWNERS_LIMIT + 1)
    if len(owners) > OWNERS_LIMIT:
        raise errors.InvalidRequest(f"The referenced items are from more than {OWNERS_LIMIT} responses.", param="input")
    found: dict[str, Item] = {}
    for its_ids, packed, document in owners:
        everything = [*jsonio.loads(packed)["context"], *jsonio.loads(document)["output"]]
        found |= {item["id"]: item for item in everything if item["id"] in its_ids}
    return found
