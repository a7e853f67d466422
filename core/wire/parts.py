"""Content parts of messages and tool outputs."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from core.jsonio import JsonObject
from core.wire.base import Strict, Text, read_type, tag

IMAGE_URL_LIMIT = 20_971_520  # characters
FILE_DATA_LIMIT = 73_400_320  # characters
_ONE_LINE_PATTERN = r"^[^\x00-\x1f\x7f]+\z"


def _reject_value(_value: Any) -> Any:
    raise PydanticCustomError("unsupported", "")


# `file_id` is part of the API but not supported, because this server has no file storage.
_FileId = Annotated[None, BeforeValidator(_reject_value)]


class InputText(Strict):
    type: Literal["input_text"]
    text: Text


class InputImage(Strict):
    """An image, as a URL or a data URL."""

    type: Literal["input_image"]
    image_url: Annotated[str, Field(max_length=IMAGE_URL_LIMIT)] | None = None
    file_id: _FileId = None
    detail: Literal["auto", "low", "high", "original"] = "auto"


class InputFile(Strict):
    """A file, as base64 text, a data URL or a URL."""

    type: Literal["input_file"]
    file_data: Annotated[str, Field(max_length=FILE_DATA_LIMIT)] | None = None
    file_url: Annotated[str, Field(max_length=IMAGE_URL_LIMIT)] | None = None
    file_id: _FileId = None
    filename: Annotated[str, Field(min_length=1, max_length=255, pattern=_ONE_LINE_PATTERN)] | None = None
    detail: Literal["auto", "low", "high"] | None = None


class OutputText(Strict):
    type: Literal["output_text"]
    text: Text
    annotations: list[JsonObject] = Field(default_factory=list)


class Refusal(Strict):
    type: Literal["refusal"]
    refusal: Text


class SummaryText(Strict):
    type: Literal["summary_text"]
    text: Text


class ReasoningText(Strict):
    type: Literal["reasoning_text"]
    text: Text


def _part_branch(value: Any) -> str:
    return tag(str(read_type(value, "input_text")))


Part = Annotated[
    Annotated[InputText, Tag(tag("input_text"))]
    | Annotated[InputImage, Tag(tag("input_image"))]
    | Annotated[InputFile, Tag(tag("input_file"))]
    | Annotated[OutputText, Tag(tag("output_text"))]
    | Annotated[Refusal, Tag(tag("refusal"))],
    Discriminator(
        _part_branch,
        custom_error_type="unknown_part",
        custom_error_message="'input_text', 'input_image', 'input_file', 'output_text' or 'refusal'",
    ),
]
# The order differs from that of `Part`, because app.openapi identifies a union by its first branches: if both unions
# began with the same branches, app.openapi would mistake a `Part` for a `ToolPart`.
ToolPart = Annotated[
    Annotated[InputImage, Tag(tag("input_image"))]
    | Annotated[InputFile, Tag(tag("input_file"))]
    | Annotated[InputText, Tag(tag("input_text"))],
    Discriminator(
        _part_branch,
        custom_error_type="unknown_part",
        custom_error_message="'input_text', 'input_image' or 'input_file'",
    ),
]
Parts = Annotated[list[Part], Field(fail_fast=True)]
ToolParts = Annotated[list[ToolPart], Field(fail_fast=True)]
