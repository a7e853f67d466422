"""Images and files in a response's items: checks, separate storage of large content, and omission from lists.

Large content is stored once per project under its SHA-256. The item then has `{"$content": "<SHA-256>"}` in the field
that is a string in the wire format. Clients cannot send such a reference, because the request schemas accept only
strings in that field.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from core import errors
from core.codes import Code
from core.context import addresses, media
from core.settings import Settings
from core.wire import Item, Part
from core.wire.items import CustomToolCallOutput, FunctionCallOutput, InputItem, Message
from core.wire.parts import InputFile, InputImage
from core.wire.request import CreateResponse

IMAGES_LIMIT = 500  # images in the context of a model call
FILES_LIMIT = 50  # files in the context of a model call
MAX_INLINE_LENGTH = 8192  # characters; longer content is stored separately
_REFERENCE_KEY = "$content"
_CONTENT_FIELDS = {"input_image": "image_url", "input_file": "file_data"}
_OUTPUT_TYPES = ("function_call_output", "custom_tool_call_output")


def check_input(request: CreateResponse, settings: Settings) -> None:
    """Check the images and files in a request's input, as far as possible without decoding or downloading them.

    Raises:
        errors.InvalidRequest: an image or a file is invalid; the error names its location.
    """
    if not isinstance(request.input, list):
        return
    for position, item in enumerate(request.input):
        for location, part in _located_parts(item):
            param = f"input[{position}].{location}"
            if isinstance(item, Message) and item.role != "user" and isinstance(part, InputImage | InputFile):
                raise errors.InvalidRequest(
                    f"Invalid value for '{param}.type': only messages with the role 'user' can have images and files.",
                    param=f"{param}.type",
                )
            check_part(part, param, settings)


def _located_parts(item: InputItem) -> Iterator[tuple[str, object]]:
    """Yield each part of an item with its location in the item."""
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
        raise _missing_parameter_error(param)
    if media.is_data_url(url):
        _run_check(param, lambda: media.decode_image(url, settings))
    else:
        _run_check(
            param, lambda: addresses.check_url(url, allow_private=settings.fetch_allow_private), Code.INVALID_IMAGE_URL
        )


def _check_file(part: InputFile, param: str, settings: Settings) -> None:
    base64_text, url = part.file_data, part.file_url
    if base64_text is not None and url is not None:
        raise errors.InvalidRequest(
            f"'{param}' has both 'file_data' and 'file_url'; a file can only have one of them.",
            param=f"{param}.file_url",
            code="mutually_exclusive_parameters",
        )
    if base64_text is not None:
        _run_check(f"{param}.file_data", lambda: media.decode_file(base64_text, part.filename, settings))
    elif url is not None:
        allow_private = settings.fetch_allow_private
        _run_check(f"{param}.file_url", lambda: addresses.check_url(url, allow_private=allow_private))
    else:
        raise _missing_parameter_error(f"{param}.file_data")


def _missing_parameter_error(param: str) -> errors.InvalidRequest:
    return errors.InvalidRequest(
        f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter"
    )


def _run_check(param: str, check: Callable[[], object], code: str | None = None) -> None:
    """Run a check. If it fails, put the location `param` before the message of the error."""
    try:
        check()
    except errors.InvalidRequest as error:
        raise errors.InvalidRequest(
            f"Invalid value for '{param}': it {error}", param=param, code=code or error.code
        ) from error


def check_count(items: Iterable[Item]) -> None:
    """Check the number of images and files in the context of a model call.

    Raises:
        errors.InvalidRequest: there are too many images or files.
    """
    part_types = [part["type"] for item in items for part in parts(item)]
    for part_type, limit in (("input_image", IMAGES_LIMIT), ("input_file", FILES_LIMIT)):
        if part_types.count(part_type) > limit:
            raise errors.InvalidRequest(
                f"The context of the model would have more than {limit} parts of the type '{part_type}'.",
                param="input",
                code="array_above_max_length",
            )


def check_size(items: Iterable[Item], sizes: Mapping[str, int], settings: Settings) -> None:
    """Check the total size of the separately stored contents in the context of a model call.

    Args:
        sizes: the size in bytes of every referenced content as base64 text, by SHA-256 in hex.

    Raises:
        errors.InvalidRequest: the total size exceeds `settings.input_limit_bytes`.
    """
    content_ids = (reference(part) for item in items for part in parts(item))
    base64_size = sum(sizes[content_id] for content_id in content_ids if content_id is not None)
    if base64_size // 4 * 3 > settings.input_limit_bytes:
        raise errors.InvalidRequest(
            "The images and files in the context of the model would together exceed the"
            f" {settings.input_limit_bytes} bytes that are allowed.",
            param="input",
        )


def parts(item: Item) -> list[Part]:
    """Return the parts of an item that may be sent to a model."""
    value = item.get(_parts_field(item))
    return value if isinstance(value, list) else []


def _parts_field(item: Item) -> str:
    """Return the name of the field that contains an item's parts; empty for items of hosted tools."""
    return "content" if item["type"] == "message" else "output" if item["type"] in _OUTPUT_TYPES else ""


def is_media(part: Part) -> bool:
    """Whether a part is an image or a file."""
    return part["type"] in _CONTENT_FIELDS


def replace_parts(item: Item, parts: list[Part]) -> Item:
    """Return a copy of an item with other parts."""
    return item | {_parts_field(item): parts}


def map_media(item: Item, function: Callable[[Part], Part]) -> Item:
    """Apply `function` to the images and files of an item; return the item itself if it has none."""
    item_parts = parts(item)
    if not any(map(is_media, item_parts)):
        return item
    return replace_parts(item, [function(part) if is_media(part) else part for part in item_parts])


def extract_contents(item: Item, contents: dict[str, str]) -> Item:
    """Replace large contents of an item with references; add these contents to `contents` by SHA-256 in hex."""

    def extract_content(part: Part) -> Part:
        name = _CONTENT_FIELDS[part["type"]]
        text = part.get(name)
        if not isinstance(text, str) or len(text) <= MAX_INLINE_LENGTH:
            return part
        content_id = hashlib.sha256(text.encode()).hexdigest()
        contents[content_id] = text
        return part | {name: {_REFERENCE_KEY: content_id}}

    return map_media(item, extract_content)


def references(items: Iterable[Item]) -> set[str]:
    """Return the IDs of the separately stored contents of these items: SHA-256 in hex."""
    return {content_id for item in items for part in parts(item) if (content_id := reference(part)) is not None}


def reference(part: Part) -> str | None:
    """Return the ID of a part's separately stored content: SHA-256 in hex; None if the part has none."""
    value = part.get(_CONTENT_FIELDS.get(part["type"], ""))
    return value[_REFERENCE_KEY] if isinstance(value, dict) else None


def insert_content(part: Part, contents: Mapping[str, str]) -> Part:
    """Return an image or a file with its stored content in place of the reference."""
    content_id = reference(part)
    return part if content_id is None else part | {_CONTENT_FIELDS[part["type"]]: contents[content_id]}


def hide_images(item: Item, include: Collection[str]) -> Item:
    """Replace with null each image that a list must not contain: a data URL or separately stored content.

    Args:
        include: the values of the client's `include`, which may request the images.
    """
    if item["type"] == "computer_call_output":
        if "computer_call_output.output.image_url" in include:
            return item
        output = item.get("output")
        if isinstance(output, dict) and _contains_image(output.get("image_url")):
            return item | {"output": output | {"image_url": None}}
        return item
    if "message.input_image.image_url" in include:
        return item
    return map_media(item, lambda part: part | {"image_url": None} if _contains_image(part.get("image_url")) else part)


def _contains_image(url: object) -> bool:
    """Whether an image URL is a data URL or a reference to separately stored content."""
    return isinstance(url, dict) or (isinstance(url, str) and media.is_data_url(url))


def part_text(part: Part) -> str:
    """Return a part as plain text, for model servers that accept only text: a file as its name and extracted text."""
    if part["type"] == "input_file":
        return f"\n[File: {part.get('filename') or 'without a name'}]\n{part['text']}\n[End of the file]\n"
    return str(part.get("text", part.get("refusal", "")))
