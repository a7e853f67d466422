"""Images and files among a response's items: checked, set apart from its row, put back, and hidden in lists.

What is large is kept once a project under its SHA-256. In its place stands `{"$content": "<SHA-256>"}`, where the wire
has a text: the schemas take no object there, so none of these comes from outside.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from core import errors
from core.context import addresses, media
from core.settings import Settings
from core.wire.items import CustomToolCallOutput, FunctionCallOutput, InputItem, Item, Message
from core.wire.parts import InputFile, InputImage
from core.wire.request import CreateResponse

Part = dict[str, Any]

IMAGES_LIMIT = 500  # in all that a model is shown
FILES_LIMIT = 50
APART_OVER = 8192  # characters
_REFERENCE = "$content"
_DATA = {"input_image": "image_url", "input_file": "file_data"}
_OUTPUTS = ("function_call_output", "custom_tool_call_output")


def check(request: CreateResponse, settings: Settings) -> None:
    """Return if every image and file of a request's input is one, as far as can be told without opening it.

    Raises:
        errors.InvalidRequest: one is not; its place is named.
    """
    if not isinstance(request.input, list):
        return
    for position, item in enumerate(request.input):
        for place, part in _sent(item):
            param = f"input[{position}].{place}"
            if isinstance(item, Message) and item.role != "user" and isinstance(part, InputImage | InputFile):
                raise errors.InvalidRequest(
                    f"Invalid value for '{param}.type': only messages of the role 'user' have images and files.",
                    param=f"{param}.type",
                )
            check_part(part, param, settings)


def _sent(item: InputItem) -> Iterator[tuple[str, object]]:
    """The parts of an item, and where in it they are."""
    if isinstance(item, Message) and isinstance(item.content, list):
        yield from ((f"content[{position}]", part) for position, part in enumerate(item.content))
    elif isinstance(item, FunctionCallOutput | CustomToolCallOutput) and isinstance(item.output, list):
        yield from ((f"output[{position}]", part) for position, part in enumerate(item.output))


def check_part(part: object, param: str, settings: Settings) -> None:
    """Return if a part is no image and no file, or a good one.

    Args:
        param: the place of the part.

    Raises:
        errors.InvalidRequest: it is not.
    """
    if isinstance(part, InputImage):
        _check_image(part, param, settings)
    elif isinstance(part, InputFile):
        _check_file(part, param, settings)


def _check_image(part: InputImage, param: str, settings: Settings) -> None:
    param = f"{param}.image_url"
    url = part.image_url
    if url is None:
        raise _missing(param)
    if media.is_data_url(url):
        _named(param, lambda: media.image_of(url, settings))
    else:
        _named(param, lambda: addresses.check_url(url, allow_private=settings.fetch_allow_private), "invalid_image_url")


def _check_file(part: InputFile, param: str, settings: Settings) -> None:
    encoded, url = part.file_data, part.file_url
    if encoded is not None and url is not None:
        raise errors.InvalidRequest(
            f"'{param}' has 'file_data' and 'file_url'; a file has one of them.",
            param=f"{param}.file_url",
            code="mutually_exclusive_parameters",
        )
    if encoded is not None:
        _named(f"{param}.file_data", lambda: media.file_of(encoded, part.filename, settings))
    elif url is not None:
        allow_private = settings.fetch_allow_private
        _named(f"{param}.file_url", lambda: addresses.check_url(url, allow_private=allow_private))
    else:
        raise _missing(f"{param}.file_data")


def _missing(param: str) -> errors.InvalidRequest:
    return errors.InvalidRequest(
        f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter"
    )


def _named(param: str, check: Callable[[], object], code: str | None = None) -> None:
    """Check, and name the place of what is wrong."""
    try:
        check()
    except errors.InvalidRequest as error:
        raise errors.InvalidRequest(
            f"Invalid value for '{param}': it {error}", param=param, code=code or error.code
        ) from error


def check_count(items: Iterable[Item]) -> None:
    """Return if there are not too many images and files in all that a model is to be shown.

    Raises:
        errors.InvalidRequest: there are.
    """
    kinds = [part["type"] for item in items for part in parts(item)]
    for kind, limit in (("input_image", IMAGES_LIMIT), ("input_file", FILES_LIMIT)):
        if kinds.count(kind) > limit:
            raise errors.InvalidRequest(
                f"There are more than {limit} parts of the type '{kind}' in what the model would be shown.",
                param="input",
                code="array_above_max_length",
            )


def check_size(items: Iterable[Item], sizes: Mapping[str, int], settings: Settings) -> None:
    """Return if what was set apart of all that a model is to be shown is not too large to be sent.

    Args:
        sizes: of every content that the items refer to, as base64.

    Raises:
        errors.InvalidRequest: it is.
    """
    found = (reference(part) for item in items for part in parts(item))
    if sum(sizes[sha] for sha in found if sha is not None) // 4 * 3 > settings.input_limit_bytes:
        raise errors.InvalidRequest(
            "The images and files in what the model would be shown are larger in all than the"
            f" {settings.input_limit_bytes} bytes that are allowed.",
            param="input",
        )


def parts(item: Item) -> list[Part]:
    """The parts of an item that a model may be shown."""
    found = item.get(_name(item))
    return found if isinstance(found, list) else []


def _name(item: Item) -> str:
    """Where an item has its parts; those of hosted tools have none that we know of."""
    return "content" if item["type"] == "message" else "output" if item["type"] in _OUTPUTS else ""


def is_media(part: Part) -> bool:
    """Whether a part is an image or a file."""
    return part["type"] in _DATA


def with_parts(item: Item, parts: list[Part]) -> Item:
    """An item that has parts, with these in their place."""
    return item | {_name(item): parts}


def changed(item: Item, change: Callable[[Part], Part]) -> Item:
    """An item whose images and files went through `change`; the item itself where it has none."""
    found = parts(item)
    if not any(map(is_media, found)):
        return item
    return with_parts(item, [change(part) if is_media(part) else part for part in found])


def set_apart(item: Item, contents: dict[str, str]) -> Item:
    """An item with references in place of what is large, which is added to `contents` by its SHA-256 in hex."""

    def apart(part: Part) -> Part:
        name = _DATA[part["type"]]
        text = part.get(name)
        if not isinstance(text, str) or len(text) <= APART_OVER:
            return part
        sha = hashlib.sha256(text.encode()).hexdigest()
        contents[sha] = text
        return part | {name: {_REFERENCE: sha}}

    return changed(item, apart)


def references(items: Iterable[Item]) -> set[str]:
    """What was set apart of these items."""
    return {sha for item in items for part in parts(item) if (sha := reference(part)) is not None}


def reference(part: Part) -> str | None:
    """What was set apart of a part."""
    found = part.get(_DATA.get(part["type"], ""))
    return found[_REFERENCE] if isinstance(found, dict) else None


def filled(part: Part, contents: Mapping[str, str]) -> Part:
    """An image or a file with its content in the place of its reference."""
    sha = reference(part)
    return part if sha is None else part | {_DATA[part["type"]]: contents[sha]}


def listed(item: Item, include: Collection[str]) -> Item:
    """An item as a list shows it: images in data URLs only where they are asked for, else null in their place.

    Args:
        include: what the client asked for.
    """
    computers = item["type"] == "computer_call_output"
    if ("computer_call_output.output.image_url" if computers else "message.input_image.image_url") in include:
        return item
    if computers:
        output = item.get("output")
        hidden = isinstance(output, dict) and _is_data(output.get("image_url"))
        return item | {"output": output | {"image_url": None}} if hidden and isinstance(output, dict) else item
    return changed(item, lambda part: part | {"image_url": None} if _is_data(part.get("image_url")) else part)


def _is_data(url: object) -> bool:
    return isinstance(url, dict) or (isinstance(url, str) and media.is_data_url(url))
