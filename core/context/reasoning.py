"""Encryption of a model's reasoning in the items that clients send back with the next request."""

from core import errors, jsonio
from core.jsonio import JsonObject
from core.tenants.seals import Seals
from core.wire import Item

# Fields of an item of which `encrypted_content` has a copy; clients may omit them when they send the item back.
_SEALED_FIELDS = ("summary", "content")
_ENCRYPTED_CONTENT = "encrypted_content"


def seal_item(item: Item, seals: Seals, *, project_id: str, model: str, server_encrypted_content: str | None) -> Item:
    """Return a copy of a reasoning item with `encrypted_content`, from which the complete item can be restored.

    Args:
        model: public name of the model that produced the reasoning.
        server_encrypted_content: the model server's `encrypted_content`, which only that server can decrypt.
    """
    sealed_fields: JsonObject = {name: item[name] for name in _SEALED_FIELDS if name in item}
    if server_encrypted_content is not None:
        sealed_fields |= {"model": model, _ENCRYPTED_CONTENT: server_encrypted_content}
    return item | {_ENCRYPTED_CONTENT: seals.seal(jsonio.dumps(sealed_fields).encode(), project_id=project_id)}


def check_item(item: Item, seals: Seals, *, project_id: str, param: str) -> None:
    """Check that this server encrypted the `encrypted_content` of an item, if the item has any.

    Raises:
        errors.InvalidRequest: the content cannot be verified, or this server has no secret key.
    """
    if item["type"] != "reasoning" or not item.get(_ENCRYPTED_CONTENT):
        return
    param = f"{param}.{_ENCRYPTED_CONTENT}"
    if not seals.has_key:
        raise errors.InvalidRequest(
            f"This server cannot accept '{param}', because BACKBURNER_SECRET_KEY is not set on it.", param=param
        )
    try:
        _decrypt_item(item, seals, project_id)
    except errors.SealError as error:
        raise errors.InvalidRequest(
            f"The encrypted content of '{param}' could not be verified: {error}",
            param=param,
            code="invalid_encrypted_content",
        ) from error


def open_items(items: list[Item], seals: Seals, *, project_id: str, model: str) -> list[Item]:
    """Return a context with its reasoning items decrypted for a model.

    In the result, the `encrypted_content` of an item is the model server's, and is present only if the same model
    produced the item. If an item can no longer be decrypted, because its key has been removed, only the fields that the
    client sent in clear text remain.
    """
    return [_open_item(item, seals, project_id, model) if item["type"] == "reasoning" else item for item in items]


def _open_item(item: Item, seals: Seals, project_id: str, model: str) -> Item:
    plain_item = {name: value for name, value in item.items() if name != _ENCRYPTED_CONTENT}
    if not item.get(_ENCRYPTED_CONTENT):
        return plain_item
    try:
        sealed_fields = _decrypt_item(item, seals, project_id)
    except errors.SealError:
        return plain_item
    complete_item = plain_item | {name: sealed_fields[name] for name in _SEALED_FIELDS if name in sealed_fields}
    if sealed_fields.get("model") == model:
        complete_item[_ENCRYPTED_CONTENT] = sealed_fields[_ENCRYPTED_CONTENT]
    return complete_item


def _decrypt_item(item: Item, seals: Seals, project_id: str) -> JsonObject:
    """Return the fields in the `encrypted_content` of an item."""
    sealed_fields: JsonObject = jsonio.loads(seals.open(item[_ENCRYPTED_CONTENT], project_id=project_id))
    return sealed_fields
