"""Images and files in a response's items: checks, separate storage of large content, and their form in lists.

Large content is stored once per project under its SHA-256. In its place, the item has `{"$content": "<SHA-256>"}` where
the wire format has a string. The request schemas accept no object there, so a client cannot send such a reference.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from core import errors
from core.codes import Code
from core.context import addresses, media
from core.settings import Settings
from core.wire.items import CustomToolCallOutput, FunctionCallOutput, InputItem, Item, Message
from core.wire.parts import InputFile, InputImage
from core.wire.request import CreateResponse

Part = dict[str, Any]

IMAGES_LIMIT = 500  # in the context that a model is shown
FILES_LIMIT = 50  # likewise
APART_OVER = 8192  # characters; longer content is stored separately
_REFERENCE = "$content"
_DATA = {"input_image": "image_url", "input_file": "file_data"}
_OUTPUTS = ("function_call_output", "custom_tool_call_output")


def check(request: CreateResponse, settings: Settings) -> None:
    """Check the images and files in a request's input, as far as possible without decoding or downloading them.

    Raises:
        errors.InvalidRequest: one is invalid; the error names its location.
    """
    if not isinstance(request.input, list):
        return
    for position, item in enumerate(request.input):
        for place, part in _sent(item):
            param = f"input[{position}].{place}"
            if isinstance(item, Message) and item.role != "user" and isinstance(part, InputImage | InputFile):
                raise errors.InvalidRequest(
                    f"Invalid value for '{param}.type': only messages with the role 'user' can have images and files.",
                    param=f"{param}.type",
                )
            check_part(part, param, settings)


def _sent(item: InputItem) -> Iterator[tuple[str, object]]:
    """The parts of an item, each with its location in the item."""
    if isinstance(item, Message) and isinstance(item.content, list):
        yield from ((f"content[{position}]", part) for position, part in enumerate(item.content))
    elif isinstance(item, FunctionCallOutput | CustomToolCallOutput) and isinstance(item.output, list):
        yield from ((f"output[{position}]", part) for position, part in enumerate(item.output))


def check_part(part: object, param: str, settings: Settings) -> None:
    """Check a part if it is an image or a file.

    Args:
        param: location of the part in the request.

    Raises:
        errors.InvalidRequest: the image or file is invalid.
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
        _named(
            param, lambda: addresses.check_url(url, allow_private=settings.fetch_allow_private), Code.INVALID_IMAGE_URL
        )


def _check_file(part: InputFile, param: str, settings: Settings) -> None:
    encoded, url = part.file_data, part.file_url
    if encoded is not None and url is not None:
        raise errors.InvalidRequest(
            f"'{param}' has both 'file_data' and 'file_url'; a file can only have one of them.",
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
    """Run a check, and put the location before the message of its error."""
    try:
        check()
    except errors.InvalidRequest as error:
        raise errors.InvalidRequest(
            f"Invalid value for '{param}': it {error}", param=param, code=code or error.code
        ) from error


def check_count(items: Iterable[Item]) -> None:
    """Check the number of images and files in the context that a model is shown.

    Raises:
        errors.InvalidRequest: there are too many.
    """
    kinds = [part["type"] for item in items for part in parts(item)]
    for kind, limit in (("input_image", IMAGES_LIMIT), ("input_file", FILES_LIMIT)):
        if kinds.count(kind) > limit:
            raise errors.InvalidRequest(
                f"The context of the model would have more than {limit} parts of the type '{kind}'.",
                param="input",
                code="array_above_max_length",
            )


def check_size(items: Iterable[Item], sizes: Mapping[str, int], settings: Settings) -> None:
    """Check the total size of the separately stored content in the context that a model is shown.

    Args:
        sizes: bytes of every content that the items refer to, as base64, by its SHA-256 in hex.

    Raises:
        errors.InvalidRequest: it exceeds `settings.input_limit_bytes`.
    """
    found = (reference(part) for item in items for part in parts(item))
    if sum(sizes[sha] for sha in found if sha is not None) // 4 * 3 > settings.input_limit_bytes:
        raise errors.InvalidRequest(
            "The images and files in the context of the model would together exceed the"
            f" {settings.input_limit_bytes} bytes that are allowed.",
            param="input",
        )


def parts(item: Item) -> list[Part]:
    """The parts of an item that may be shown to a model."""
    found = item.get(_name(item))
    return found if isinstance(found, list) else []


def _name(item: Item) -> str:
    """The field that holds an item's parts; empty for items of hosted tools, whose parts are unknown."""
    return "content" if item["type"] == "message" else "output" if item["type"] in _OUTPUTS else ""


def is_media(part: Part) -> bool:
    """Whether a part is an image or a file."""
    return part["type"] in _DATA


def with_parts(item: Item, parts: list[Part]) -> Item:
    """An item with its parts replaced by these."""
    return item | {_name(item): parts}


def changed(item: Item, change: Callable[[Part], Part]) -> Item:
    """An item with `change` applied to its images and files; the item itself if it has none."""
    found = parts(item)
    if not any(map(is_media, found)):
        return item
    return with_parts(item, [change(part) if is_media(part) else part for part in found])


def set_apart(item: Item, contents: dict[str, str]) -> Item:
    """An item with references in place of large content, which is added to `contents` by its SHA-256 in hex."""

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
    """The SHA-256 of each separately stored content of these items, in hex."""
    return {sha for item in items for part in parts(item) if (sha := reference(part)) is not None}


def reference(part: Part) -> str | None:
    """The SHA-256 of a part's separately stored content, in hex; None if it has none."""
    found = part.get(_DATA.get(part["type"], ""))
    return found[_REFERENCE] if isinstance(found, dict) else None


def filled(part: Part, contents: Mapping[str, str]) -> Part:
    """An image or a file with its reference replaced by the content."""
    sha = reference(part)
    return part if sha is None else part | {_DATA[part["type"]]: contents[sha]}


def listed(item: Item, include: Collection[str]) -> Item:
    """An item as shown in lists: images in data URLs are replaced by null unless the client asked for them.

    Args:
        include: the client's `include`.
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
