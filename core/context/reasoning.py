"""What a model thought, sealed into the items that clients carry from turn to turn."""

from typing import Any

from core import errors, jsonio
from core.tenants.seals import Seals
from core.wire.items import Item

# Parts of an item that the seal holds; clients may leave them out when they send it back.
_SEALED = ("summary", "content")
_OWN = "encrypted_content"


def sealed(item: Item, seals: Seals, *, project_id: str, model: str, own: str | None) -> Item:
    """A reasoning item with `encrypted_content`, of which it can be made whole again.

    Args:
        model: whose thoughts they are, by its public name.
        own: the model server's own encrypted content, which only it can read.
    """
    content: dict[str, Any] = {name: item[name] for name in _SEALED if name in item}
    if own is not None:
        content |= {"model": model, _OWN: own}
    return item | {_OWN: seals.seal(jsonio.dumps(content).encode(), project_id=project_id)}


def check(item: Item, seals: Seals, *, project_id: str, param: str) -> None:
    """Return if an item of a request has no `encrypted_content`, or one of ours.

    Raises:
        errors.InvalidRequest: it has another.
    """
    if item["type"] != "reasoning" or not item.get(_OWN):
        return
    param = f"{param}.{_OWN}"
    if not seals.usable:
        raise errors.InvalidRequest(f"'{param}' needs a server that has a key: set BACKBURNER_SECRET_KEY.", param=param)
    try:
        _content(item, seals, project_id)
    except errors.NotSealed as error:
        raise errors.InvalidRequest(
            f"The encrypted content of '{param}' could not be verified: {error}",
            param=param,
            code="invalid_encrypted_content",
        ) from error


def opened(items: list[Item], seals: Seals, *, project_id: str, model: str) -> list[Item]:
    """A context as a model is shown it: reasoning items hold what they were sealed with.

    An item's `encrypted_content` is the model server's own then, and there only for the model that it came from. An
    item that cannot be opened any more, because its key was taken away meanwhile, is what its client could see of it.
    """
    return [_opened(item, seals, project_id, model) if item["type"] == "reasoning" else item for item in items]


def _opened(item: Item, seals: Seals, project_id: str, model: str) -> Item:
    bare = {name: value for name, value in item.items() if name != _OWN}
    if not item.get(_OWN):
        return bare
    try:
        content = _content(item, seals, project_id)
    except errors.NotSealed:
        return bare
    known = bare | {name: content[name] for name in _SEALED if name in content}
    return known | ({_OWN: content[_OWN]} if content.get("model") == model else {})


def _content(item: Item, seals: Seals, project_id: str) -> dict[str, Any]:
    found: dict[str, Any] = jsonio.loads(seals.open(item[_OWN], project_id=project_id))
    return found
