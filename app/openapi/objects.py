"""The objects of this server's answers, as the OpenAPI document describes them; nothing is validated by them."""

from typing import Literal

from pydantic import BaseModel, Field

from core.prompts.prompt_requests import Template
from core.tenants.rights import Right
from core.wire.response import Response


class ErrorBody(BaseModel):
    message: str = Field(description="A sentence for a person.")
    type: str
    param: str | None = Field(description="The parameter it is about, such as `input[0].content`.")
    code: str | None = Field(description="For a program, such as `model_not_found`.")


class ErrorEnvelope(BaseModel):
    """What every error is answered with."""

    error: ErrorBody


class DeletedResponse(BaseModel):
    id: str
    object: Literal["response"]
    deleted: Literal[True]


class _Page(BaseModel):
    object: Literal["list"]
    first_id: str | None
    last_id: str | None = Field(description="Send it as `after` for the next page.")
    has_more: bool


class ResponseList(_Page):
    data: list[Response]


class Prompt(BaseModel):
    """A stored prompt; versions are numbered from 1, and used is the default one where no other is asked for."""

    id: str
    object: Literal["prompt"]
    created_at: int = Field(description="Unix seconds.")
    name: str
    description: str | None
    default_version: str
    versions: list[str]


class PromptVersion(BaseModel):
    """A version of a prompt, which never changes."""

    prompt_id: str
    object: Literal["prompt.version"]
    version: str
    created_at: int = Field(description="Unix seconds.")
    template: Template


class PromptList(_Page):
    data: list[Prompt]


class DeletedPrompt(BaseModel):
    id: str
    object: Literal["prompt"]
    deleted: Literal[True]


class Project(BaseModel):
    id: str
    object: Literal["project"]
    name: str
    created_at: int = Field(description="Unix seconds.")


class ProjectList(_Page):
    data: list[Project]


class ApiKey(BaseModel):
    """A key as everybody but its holder sees it."""

    id: str
    object: Literal["project.api_key"]
    project_id: str
    name: str | None
    hint: str = Field(description="The key's last characters, to tell keys apart.")
    rights: list[Right]
    created_at: int = Field(description="Unix seconds.")
    rotated_at: int | None = Field(description="Unix seconds.")


class NewApiKey(ApiKey):
    """A key, this once with what its holder sends."""

    key: str


class ApiKeyList(_Page):
    data: list[ApiKey]


class DeletedApiKey(BaseModel):
    id: str
    object: Literal["project.api_key"]
    deleted: Literal[True]


class Model(BaseModel):
    id: str
    object: Literal["model"]
    created: int = Field(description="Unix seconds.")
    owned_by: str


class ModelList(BaseModel):
    object: Literal["list"]
    data: list[Model]


class Health(BaseModel):
    status: Literal["ok"]
    version: str


class Readiness(BaseModel):
    """Whether requests can be taken; without Redis they can, and wait in Postgres."""

    status: Literal["ok"]
    postgres: Literal["ok"]
    redis: Literal["ok", "unreachable"]


class Unreadiness(BaseModel):
    status: Literal["not ready"]
    reason: str


ANSWERS = (
    ErrorEnvelope,
    Response,
    ResponseList,
    DeletedResponse,
    Prompt,
    PromptVersion,
    PromptList,
    DeletedPrompt,
    Project,
    ProjectList,
    ApiKey,
    NewApiKey,
    ApiKeyList,
    DeletedApiKey,
    Model,
    ModelList,
    Health,
    Readiness,
    Unreadiness,
)
