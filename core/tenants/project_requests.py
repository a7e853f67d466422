"""Request bodies that create projects and API keys."""

from typing import Annotated, Literal

from pydantic import Field

from core.wire.base import NUL_FREE_PATTERN, Closed


class CreateProject(Closed):
    """A project to create; its name cannot be changed later."""

    name: Annotated[str, Field(min_length=1, max_length=128, pattern=NUL_FREE_PATTERN)]


class CreateKey(Closed):
    """An API key to create; without `rights`, the key has the rights `read`, `write` and `cancel`."""

    name: Annotated[str, Field(min_length=1, max_length=128, pattern=NUL_FREE_PATTERN)] | None = None
    rights: (
        Annotated[
            list[Literal["read", "write", "cancel", "no-limit", "admin"]],
            Field(min_length=1, max_length=5),
        ]
        | None
    ) = None
