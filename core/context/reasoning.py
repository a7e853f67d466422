"""Encryption of a model's reasoning in the items that clients send back in the next turn."""

from typing import Any

from core import errors, jsonio
from core.tenants.seals import Seals
from core.wire.items import Item

# Fields of an item that are also encrypted; clients may omit them when they send the item back.
_SEALED = ("summary", "content")
_OWN = "encrypted_content"


def sealed(item: Item, seals: Seals, *, project_id: str, model: str, own: str | None) -> Item:
    """A reasoning item with `encrypted_content`, from which the complete item can be restored.

    Args:
        model: public name of the model that produced the reasoning.
        own: the model server's own encrypted content, which only that server can read.
    """
    content: dict[str, Any] = {name: item[name] for name in _SEALED if name in item}
    if own is not None:
        content |= {"model": model, _OWN: own}
    return item | {_OWN: seals.seal(jsonio.dumps(content).encode(), project_id=project_id)}


def check(item: Item, seals: Seals, *, project_id: str, param: str) -> None:
    """Check that an item of a request has no `encrypted_content`, or one from this server.

    Raises:
        errors.InvalidRequest: the content cannot be verified, or this server has no secret key.
    """
    if item["type"] != "reasoning" or not item.get(_OWN):
        return
    param = f"{param}.{_OWN}"
    if not seals.usable:
        raise errors.InvalidRequest(
            f"'{param}' needs a server with a secret key: set BACKBURNER_SECRET_KEY.", param=param
        )
    try:
        _content(item, seals, project_id)
    except errors.NotSealed as error:
        raise errors.InvalidRequest(
            f"The encrypted content of '{param}' could not be verified: {error}",
            param=param,
            code="invalid_encrypted_content",
        ) from error


def opened(items: list[Item], seals: Seals, *, project_id: str, model: str) -> list[Item]:
    """A context as shown to a model, with reasoning items decrypted.

    In the result, `encrypted_content` of an item is the model server's own, and is present only for the model that it
    came from. An item that can no longer be decrypted, because its key has been removed, keeps only the fields that its
    client sent in clear text.
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
