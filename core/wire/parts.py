"""Parts: what messages and the outputs of tools are made of."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from core.wire.base import Strict, Text, kind_of, tag

IMAGE_URL_LIMIT = 20_971_520  # characters
FILE_DATA_LIMIT = 73_400_320  # characters
_ONE_LINE = r"^[^\x00-\x1f\x7f]+\z"


def _unsupported(_value: Any) -> Any:
    raise PydanticCustomError("unsupported", "")


# Of the API, and not served: there is no store of files to which it could refer.
_FileId = Annotated[None, BeforeValidator(_unsupported)]


class InputText(Strict):
    type: Literal["input_text"]
    text: Text


class InputImage(Strict):
    """An image by its URL, or in a data URL."""

    type: Literal["input_image"]
    image_url: Annotated[str, Field(max_length=IMAGE_URL_LIMIT)] | None = None
    file_id: _FileId = None
    detail: Literal["auto", "low", "high", "original"] = "auto"


class InputFile(Strict):
    """A file in base64 or in a data URL, or by its URL."""

    type: Literal["input_file"]
    file_data: Annotated[str, Field(max_length=FILE_DATA_LIMIT)] | None = None
    file_url: Annotated[str, Field(max_length=IMAGE_URL_LIMIT)] | None = None
    file_id: _FileId = None
    filename: Annotated[str, Field(min_length=1, max_length=255, pattern=_ONE_LINE)] | None = None
    detail: Literal["auto", "low", "high"] | None = None


class OutputText(Strict):
    type: Literal["output_text"]
    text: Text
    annotations: list[dict[str, Any]] = Field(default_factory=list)


class Refusal(Strict):
    type: Literal["refusal"]
    refusal: Text


class SummaryText(Strict):
    type: Literal["summary_text"]
    text: Text


class ReasoningText(Strict):
    type: Literal["reasoning_text"]
    text: Text


def _part(value: Any) -> str:
    return tag(str(kind_of(value, "input_text")))


Part = Annotated[
    Annotated[InputText, Tag(tag("input_text"))]
    | Annotated[InputImage, Tag(tag("input_image"))]
    | Annotated[InputFile, Tag(tag("input_file"))]
    | Annotated[OutputText, Tag(tag("output_text"))]
    | Annotated[Refusal, Tag(tag("refusal"))],
    Discriminator(
        _part,
        custom_error_type="unknown_part",
        custom_error_message="'input_text', 'input_image', 'input_file', 'output_text' or 'refusal'",
    ),
]
# In another order than above: a union that begins another is not told from it where the schemas are written.
ToolPart = Annotated[
    Annotated[InputImage, Tag(tag("input_image"))]
    | Annotated[InputFile, Tag(tag("input_file"))]
    | Annotated[InputText, Tag(tag("input_text"))],
    Discriminator(
        _part,
        custom_error_type="unknown_part",
        custom_error_message="'input_text', 'input_image' or 'input_file'",
    ),
]
Parts = Annotated[list[Part], Field(fail_fast=True)]
ToolParts = Annotated[list[ToolPart], Field(fail_fast=True)]
