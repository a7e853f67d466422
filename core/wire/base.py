"""Base classes, string types and union discriminators shared by all wire schemas."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, model_validator

TEXT_LIMIT = 10_485_760  # characters of one string
NO_NUL = r"^[^\x00]*\z"  # for values that Postgres looks up: its type `text` cannot hold NUL

Text = Annotated[str, Field(max_length=TEXT_LIMIT)]
Name = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_-]+$")]
CallId = Annotated[str, Field(min_length=1, max_length=64)]
ItemId = Annotated[str, Field(min_length=1, max_length=256, pattern=NO_NUL)]


class Strict(BaseModel):
    """A part of a request: no type coercion, null means omitted, unknown fields are ignored."""

    model_config = ConfigDict(strict=True, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _null_means_left_out(cls, body: Any) -> Any:
        return {key: value for key, value in body.items() if value is not None} if isinstance(body, dict) else body


class Open(Strict):
    """A part of a request with few known fields; unknown fields are kept."""

    model_config = ConfigDict(strict=True, frozen=True, extra="allow")


class Closed(Strict):
    """A part of a request that rejects unknown fields: a stored prompt version, for one, cannot be corrected later."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


def tag(name: str) -> str:
    """The label of a union branch in pydantic's error locations.

    No field has such a name, so `app` can remove the label from the parameter it reports.
    """
    return f"<{name}>"


def kind_of(part: Any, otherwise: Any) -> Any:
    """The `type` of a part; None if an object has none, `otherwise` if the value is not an object.

    Takes validated models as well as raw input: pydantic calls discriminators again when it serializes.
    """
    if isinstance(part, BaseModel):
        return getattr(part, "type", otherwise)
    return part.get("type") if isinstance(part, dict) else otherwise


def text_or_list() -> Discriminator:
    """A discriminator that distinguishes a string from a list."""
    return Discriminator(lambda value: tag("text") if isinstance(value, str) else tag("list"))
