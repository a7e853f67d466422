"""The response object: the one definition with which objects are built, documented and checked.

Stored and sent objects are plain dictionaries. The functions here build them, with every key in every status.
"""

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, Field

from core.config.tiers import Tier
from core.jsonio import JsonObject
from core.wire import Document, Item
from core.wire.base import Open
from core.wire.items import ItemStatus
from core.wire.parts import ReasoningText, SummaryText
from core.wire.request import CreateResponse, PromptReference, TextConfig, VariableValue
from core.wire.status import Status
from core.wire.tools import Tool, ToolChoice


class AnswerText(BaseModel):
    """Text of the model, as a part of a message."""

    type: Literal["output_text"]
    text: str
    annotations: list[JsonObject]
    logprobs: list[JsonObject]


class AnswerRefusal(BaseModel):
    """The model's refusal to answer, as a part of a message."""

    type: Literal["refusal"]
    refusal: str


class AnswerReasoning(BaseModel):
    """The model's reasoning, in full or as a summary."""

    type: Literal["reasoning"]
    id: str
    status: ItemStatus
    summary: list[SummaryText]
    content: list[ReasoningText]
    encrypted_content: str = Field(
        "",
        description="Present only if the create request's `include` contains `reasoning.encrypted_content`. "
        "Send it back in later turns.",
    )


class AnswerMessage(BaseModel):
    """A message of the model."""

    type: Literal["message"]
    id: str
    status: ItemStatus
    role: Literal["assistant"]
    content: list[AnswerText | AnswerRefusal]


class AnswerFunctionCall(BaseModel):
    """A function call that the client has to make; `arguments` is JSON text."""

    type: Literal["function_call"]
    id: str
    status: ItemStatus
    call_id: str
    name: str
    arguments: str


class AnswerCustomToolCall(BaseModel):
    """A call of a custom tool that the client has to make; `input` is free text."""

    type: Literal["custom_tool_call"]
    id: str
    status: ItemStatus
    call_id: str
    name: str
    input: str


class ResponseError(BaseModel):
    """The reason why a response failed."""

    code: str
    message: str
    type: str = Field("", description="Only if it is more precise than the code: `context_length_exceeded`.")


class IncompleteDetails(BaseModel):
    """The reason why a response ended before its output was complete."""

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


class ClientWaitReason(StrEnum):
    """Why a queued response does not run yet.

    `starting`: a worker is about to start it. `turn`: other responses may come first. `project_limit`: the project runs
    as many responses as it may. `model_capacity`, `capacity`: the model, or all workers, run as many responses as they
    can. `model_unavailable`: no server of the model is available. `no_worker`: no worker can run it at present.
    `retry`: an earlier run was lost or had no model server, and the next run is due later.
    """

    STARTING = "starting"
    TURN = "turn"
    PROJECT_LIMIT = "project_limit"
    MODEL_CAPACITY = "model_capacity"
    MODEL_UNAVAILABLE = "model_unavailable"
    CAPACITY = "capacity"
    NO_WORKER = "no_worker"
    RETRY = "retry"


class PromptEcho(BaseModel):
    """The prompt, with the version that was used."""

    id: str
    version: str
    variables: dict[str, VariableValue] = Field(description="As in the request, without the bytes of images and files.")


class Response(BaseModel):
    """A response in any status. Every key is always present, except where its description says otherwise."""

    id: str
    object: Literal["response"]
    created_at: int = Field(description="Unix seconds.")
    status: Status
    background: bool
    completed_at: int | None = Field(description="Unix seconds; null unless the status is `completed`.")
    error: ResponseError | None
    frequency_penalty: float
    incomplete_details: IncompleteDetails | None
    instructions: str | None = Field(description="With a prompt: its instructions, with the values of the variables.")
    max_output_tokens: int | None
    max_tool_calls: int | None
    metadata: dict[str, str]
    model: str
    output: list[AnswerMessage | AnswerReasoning | AnswerFunctionCall | AnswerCustomToolCall] = Field(
        description="The current output while the response runs. If the response does not complete, the last item "
        "may be partial."
    )
    parallel_tool_calls: bool
    presence_penalty: float
    previous_response_id: str | None
    prompt: PromptEcho = Field(
        default_factory=lambda: PromptEcho(id="", version="", variables={}),
        description="Only if it was in the request.",
    )
    prompt_cache_key: str | None
    prompt_cache_retention: str | None
    prompt_cache_options: Open = Field(default_factory=Open, description="Only if it was in the request.")
    reasoning: ReasoningEcho
    safety_identifier: str | None
    service_tier: Tier = Field(description="The tier in which the response runs.")
    store: bool
    temperature: float
    text: TextConfig
    tool_choice: ToolChoice
    tools: list[Tool]
    top_logprobs: int
    top_p: float
    truncation: Literal["auto", "disabled"]
    usage: Usage | None = Field(
        description="Null unless the status is `completed` or `incomplete`. Estimated if the model server sent no "
        "plausible counts."
    )
    user: str | None
    wait_reason: ClientWaitReason = Field(
        default_factory=lambda: ClientWaitReason.TURN,
        description="Why the response does not run yet. Only in polls with `wait_reason=true`, while it is `queued`.",
    )


# The keys of every response object, in order.
KEYS = tuple(name for name, field in Response.model_fields.items() if field.is_required())
# Keys that a request also has, but with a value in another form.
_CONVERTED_KEYS = frozenset({"reasoning", "service_tier", "text", "tool_choice", "tools"})
_ECHOED_KEYS = tuple(name for name in KEYS if name in CreateResponse.model_fields and name not in _CONVERTED_KEYS)


def new_document(response_id: str, request: CreateResponse, tier: Tier, created_at: int) -> Document:
    """Return the object of a new response: the echoed parameters of the request, and the response's own values.

    Args:
        created_at: Unix seconds.

    Source: openai-openapi Response; key set of Open Responses ResponseResource.
    """
    choice, reasoning = request.tool_choice, request.reasoning
    values: Document = {
        "id": response_id,
        "object": "response",
        "created_at": created_at,
        "status": Status.QUEUED.value,
        "completed_at": None,
        "error": None,
        "incomplete_details": None,
        "output": [],
        "reasoning": {
            "effort": reasoning.effort if reasoning else None,
            "summary": reasoning.requested_summary if reasoning else None,
        },
        "service_tier": tier.value,
        "text": request.text.model_dump(by_alias=True),
        "tool_choice": choice if isinstance(choice, str) else choice.model_dump(exclude_unset=True),
        "tools": [tool.echo() for tool in request.tools],
        "usage": None,
    }
    document = dict.fromkeys(KEYS) | values
    for name in _ECHOED_KEYS:
        document[name] = getattr(request, name)
    if request.prompt is not None:
        document["prompt"] = _echo_prompt(request.prompt)
    if request.prompt_cache_options is not None:
        options = request.prompt_cache_options
        document["prompt_cache_options"] = options.model_dump(exclude={"prewarm"}, exclude_none=True)
    return document


def _echo_prompt(prompt: PromptReference) -> JsonObject:
    """Return the prompt reference without images and files, because every poll would repeat them."""
    variables = prompt.model_dump(exclude_none=True)["variables"]
    for value in variables.values():
        if isinstance(value, dict):
            value.pop("file_data", None)
            if value.get("image_url", "")[:5].lower() == "data:":
                del value["image_url"]
    return {"id": prompt.id, "version": prompt.version, "variables": variables}


def requeued_document(document: Document, response_id: str, created_at: int) -> Document:
    """Return the object of a new background response that repeats the ended response `document`.

    Args:
        created_at: Unix seconds.
    """
    return document_at_creation(document) | {"id": response_id, "created_at": created_at, "background": True}


def document_at_creation(document: Document) -> Document:
    """Return the object at the creation of the response, derived from any later state of the object."""
    return document | {
        "status": Status.QUEUED.value,
        "completed_at": None,
        "error": None,
        "incomplete_details": None,
        "output": [],
        "usage": None,
    }


def explained_document(document: Document, reason: ClientWaitReason) -> Document:
    """Return the object of a queued response with the reason why the response does not run."""
    return document | {"wait_reason": reason.value}


def running_document(document: Document, output: list[Item]) -> Document:
    """Return the object of a running response, with its committed output."""
    return document | {"status": Status.IN_PROGRESS.value, "output": output}


def usage(input_tokens: int, output_tokens: int, cached_tokens: int, reasoning_tokens: int) -> JsonObject:
    """Return the `usage` object of a response.

    Source: openai types ResponseUsage, where `cache_write_tokens` is required.
    """
    return {
        "input_tokens": input_tokens,
        "input_tokens_details": {"cached_tokens": cached_tokens, "cache_write_tokens": 0},
        "output_tokens": output_tokens,
        "output_tokens_details": {"reasoning_tokens": reasoning_tokens},
        "total_tokens": input_tokens + output_tokens,
    }


def ended_document(
    document: Document,
    status: Status,
    output: list[Item],
    *,
    now: int,
    error: dict[str, str] | None,
    incomplete_reason: str | None,
    usage: JsonObject | None,
) -> Document:
    """Return the final object of a response.

    Args:
        now: Unix seconds. `completed_at` is set only for `completed`, and is never earlier than `created_at`.
    """
    return document | {
        "status": status.value,
        "completed_at": max(now, document["created_at"]) if status == Status.COMPLETED else None,
        "error": error,
        "incomplete_details": {"reason": incomplete_reason} if incomplete_reason else None,
        "output": output,
        "usage": usage,
    }
