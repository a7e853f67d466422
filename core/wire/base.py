"""Base classes, string types and union discriminators shared by all wire schemas."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, model_validator

TEXT_LIMIT = 10_485_760  # characters of one string
NUL_FREE_PATTERN = r"^[^\x00]*\z"  # for values in SQL queries: Postgres's type `text` cannot contain NUL

Text = Annotated[str, Field(max_length=TEXT_LIMIT)]
Name = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_-]+$")]
CallId = Annotated[str, Field(min_length=1, max_length=64)]
ItemId = Annotated[str, Field(min_length=1, max_length=256, pattern=NUL_FREE_PATTERN)]


class Strict(BaseModel):
    """A part of a request: no type coercion, null means omitted, unknown fields are ignored."""

    model_config = ConfigDict(strict=True, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _omit_nulls(cls, body: Any) -> Any:
        return {key: value for key, value in body.items() if value is not None} if isinstance(body, dict) else body


class Open(Strict):
    """A part of a request that also stores unknown fields."""

    model_config = ConfigDict(strict=True, frozen=True, extra="allow")


class Closed(Strict):
    """A part of a request that rejects unknown fields, so that a misspelled name is not ignored.

    For objects that cannot be corrected later, such as prompt versions and keys.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


def tag(name: str) -> str:
    """Return the label of a union branch in pydantic's error locations.

    No field has a name in angle brackets, so `app` can remove the label from the parameter that an error names.
    """
    return f"<{name}>"


def read_type(value: Any, default: Any) -> Any:
    """Return the `type` of an object; None if the object has no type, `default` if `value` is not an object.

    Accepts validated models as well as raw input, because pydantic calls discriminators again when it serializes.
    """
    if isinstance(value, BaseModel):
        return getattr(value, "type", default)
    return value.get("type") if isinstance(value, dict) else default


def text_or_list_discriminator() -> Discriminator:
    """Return a discriminator for the union of a string and a list."""
    return Discriminator(lambda value: tag("text") if isinstance(value, str) else tag("list"))
