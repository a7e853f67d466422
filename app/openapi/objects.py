"""The objects in this server's answers, only to describe them in the OpenAPI document; they validate nothing."""

from typing import Literal

from pydantic import BaseModel, Field

from core.prompts.prompt_requests import Template
from core.tenants.rights import Right
from core.wire.response import Response


class ErrorBody(BaseModel):
    message: str = Field(description="A human-readable message.")
    type: str
    param: str | None = Field(description="The parameter that caused the error, such as `input[0].content`.")
    code: str | None = Field(description="A machine-readable code, such as `model_not_found`.")


class ErrorEnvelope(BaseModel):
    """The body of every error."""

    error: ErrorBody


class DeletedResponse(BaseModel):
    id: str
    object: Literal["response"]
    deleted: Literal[True]


class _Page(BaseModel):
    object: Literal["list"]
    first_id: str | None
    last_id: str | None = Field(description="Pass it as `after` to get the next page.")
    has_more: bool


class ResponseList(_Page):
    data: list[Response]


class Prompt(BaseModel):
    """A stored prompt. Versions are numbered from 1; a request without a version uses the default version."""

    id: str
    object: Literal["prompt"]
    created_at: int = Field(description="Unix seconds.")
    name: str
    description: str | None
    default_version: str
    versions: list[str]


class PromptVersion(BaseModel):
    """A version of a prompt. Versions are immutable."""

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
    """An API key, without its secret."""

    id: str
    object: Literal["project.api_key"]
    project_id: str
    name: str | None
    hint: str = Field(description="The last characters of the secret, by which people recognize the key.")
    rights: list[Right]
    created_at: int = Field(description="Unix seconds.")
    rotated_at: int | None = Field(description="Unix seconds.")


class NewApiKey(ApiKey):
    """A new or rotated API key. Its secret, `key`, is returned only once."""

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
    """The process is running. `not reloaded`: it could not use the configuration file at the last reload."""

    status: Literal["ok"]
    version: str
    configuration: Literal["ok", "not reloaded"]


class Readiness(BaseModel):
    """The server can accept requests. While Valkey or Redis is unreachable, new responses wait in Postgres."""

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
