"""The objects of this server's answers, as the OpenAPI document describes them; nothing is validated by them."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from core.config.tiers import Tier
from core.prompts.prompt_requests import Template
from core.tenants.rights import Right
from core.wire.base import Open
from core.wire.items import Status as ItemStatus
from core.wire.parts import ReasoningText, SummaryText
from core.wire.request import TextConfig, VariableValue
from core.wire.status import Status
from core.wire.tools import Tool, ToolChoice


class ErrorBody(BaseModel):
    message: str = Field(description="A sentence for a person.")
    type: str
    param: str | None = Field(description="The parameter it is about, such as `input[0].content`.")
    code: str | None = Field(description="For a program, such as `model_not_found`.")


class ErrorEnvelope(BaseModel):
    """What every error is answered with."""

    error: ErrorBody


class AnswerText(BaseModel):
    type: Literal["output_text"]
    text: str
    annotations: list[dict[str, Any]]
    logprobs: list[dict[str, Any]]


class AnswerRefusal(BaseModel):
    """The words in which the model refuses."""

    type: Literal["refusal"]
    refusal: str


class AnswerReasoning(BaseModel):
    """What the model thinks, in its own words or summed up."""

    type: Literal["reasoning"]
    id: str
    status: ItemStatus
    summary: list[SummaryText]
    content: list[ReasoningText]
    encrypted_content: str = Field("", description="Only where `include` named it: to be sent back in later turns.")


class AnswerMessage(BaseModel):
    """What the model says."""

    type: Literal["message"]
    id: str
    status: ItemStatus
    role: Literal["assistant"]
    content: list[AnswerText | AnswerRefusal]


class AnswerFunctionCall(BaseModel):
    """A call the model asks its client to make; `arguments` is JSON text."""

    type: Literal["function_call"]
    id: str
    status: ItemStatus
    call_id: str
    name: str
    arguments: str


class AnswerCustomToolCall(BaseModel):
    """A call with free text, which the model asks its client to make."""

    type: Literal["custom_tool_call"]
    id: str
    status: ItemStatus
    call_id: str
    name: str
    input: str


class ResponseError(BaseModel):
    """Why a response failed."""

    code: str
    message: str
    type: str = Field("", description="Only where it says more than the code: `context_length_exceeded`.")


class IncompleteDetails(BaseModel):
    """Why a response ended before its text did."""

    reason: Literal["max_output_tokens", "content_filter"]


class InputTokensDetails(BaseModel):
    cached_tokens: int
    cache_write_tokens: int


class OutputTokensDetails(BaseModel):
    reasoning_tokens: int


class Usage(BaseModel):
    input_tokens: int
    input_tokens_details: InputTokensDetails
    output_tokens: int
    output_tokens_details: OutputTokensDetails
    total_tokens: int


class ReasoningEcho(BaseModel):
    effort: str | None
    summary: str | None


class PromptEcho(BaseModel):
    """The prompt as it was used."""

    id: str
    version: str
    variables: dict[str, VariableValue] = Field(
        description="As the request had them, without the bytes of images and files."
    )


class Response(BaseModel):
    """A response, whatever its status: every key is always there, unless it says otherwise."""

    id: str
    object: Literal["response"]
    created_at: int = Field(description="Unix seconds.")
    status: Status
    background: bool
    completed_at: int | None = Field(description="Unix seconds; of `completed` responses only.")
    error: ResponseError | None
    frequency_penalty: float
    incomplete_details: IncompleteDetails | None
    instructions: str | None = Field(description="With a prompt: its own, with the variables put in.")
    max_output_tokens: int | None
    max_tool_calls: int | None
    metadata: dict[str, str]
    model: str
    output: list[AnswerMessage | AnswerReasoning | AnswerFunctionCall | AnswerCustomToolCall] = Field(
        description="While it runs: what is there so far. Of one that did not complete, the last item may be cut short."
    )
    parallel_tool_calls: bool
    presence_penalty: float
    previous_response_id: str | None
    prompt: PromptEcho = Field(
        default_factory=lambda: PromptEcho(id="", version="", variables={}),
        description="Only where the request had it.",
    )
    prompt_cache_key: str | None
    prompt_cache_retention: str | None
    prompt_cache_options: Open = Field(default_factory=Open, description="Only where the request had it.")
    reasoning: ReasoningEcho
    safety_identifier: str | None
    service_tier: Tier = Field(description="The tier it really got.")
    store: bool
    temperature: float
    text: TextConfig
    tool_choice: ToolChoice
    tools: list[Tool]
    top_logprobs: int
    top_p: float
    truncation: Literal["auto", "disabled"]
    usage: Usage | None = Field(description="Once it has ended and its tokens are known.")
    user: str | None


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
