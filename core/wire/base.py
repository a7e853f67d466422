"""What every schema of the wire shares: strictness, texts, and how unions are told apart."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, model_validator

TEXT_LIMIT = 10_485_760  # characters, of any one text
NO_NUL = r"^[^\x00]*\z"  # for what Postgres looks up, which it cannot by that

Text = Annotated[str, Field(max_length=TEXT_LIMIT)]
Name = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_-]+$")]
CallId = Annotated[str, Field(min_length=1, max_length=64)]
ItemId = Annotated[str, Field(min_length=1, max_length=256, pattern=NO_NUL)]


class Strict(BaseModel):
    """A part of a request: no type is bent into another, null means left out, unknown fields are ignored."""

    model_config = ConfigDict(strict=True, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _null_means_left_out(cls, body: Any) -> Any:
        return {key: value for key, value in body.items() if value is not None} if isinstance(body, dict) else body


class Open(Strict):
    """A part of a request of which we know little and keep everything."""

    model_config = ConfigDict(strict=True, frozen=True, extra="allow")


class Closed(Strict):
    """A part of a request in which an unknown field is an error: a version cannot be mended once it is there."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


def tag(name: str) -> str:
    """A union's branch as it stands in pydantic's paths; no field is called so, and `app` leaves it out."""
    return f"<{name}>"


def kind_of(part: Any, otherwise: Any) -> Any:
    """The `type` of a part: as it was sent, or validated, since pydantic asks again to write it; else `otherwise`."""
    if isinstance(part, BaseModel):
        return getattr(part, "type", otherwise)
    return part.get("type") if isinstance(part, dict) else otherwise


def text_or_list() -> Discriminator:
    """Tells a text from a list."""
    return Discriminator(lambda value: tag("text") if isinstance(value, str) else tag("list"))
