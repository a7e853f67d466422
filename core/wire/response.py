"""The response object as a plain dictionary that has every key of the wire format in every status."""

from typing import Any

from core.config.tiers import Tier
from core.wire.request import CreateResponse, PromptReference
from core.wire.status import Status

Document = dict[str, Any]


def first(response_id: str, request: CreateResponse, tier: Tier, created_at: int) -> Document:
    """The object of a newly created response.

    Args:
        created_at: Unix seconds.

    Source: openai-openapi Response; key set of Open Responses ResponseResource.
    """
    choice = request.tool_choice
    reasoning = request.reasoning
    document = {
        "id": response_id,
        "object": "response",
        "created_at": created_at,
        "status": Status.QUEUED.value,
        "background": request.background,
        "completed_at": None,
        "error": None,
        "frequency_penalty": request.frequency_penalty,
        "incomplete_details": None,
        "instructions": request.instructions,
        "max_output_tokens": request.max_output_tokens,
        "max_tool_calls": request.max_tool_calls,
        "metadata": request.metadata,
        "model": request.model,
        "output": [],
        "parallel_tool_calls": request.parallel_tool_calls,
        "presence_penalty": request.presence_penalty,
        "previous_response_id": request.previous_response_id,
        "prompt_cache_key": request.prompt_cache_key,
        "prompt_cache_retention": request.prompt_cache_retention,
        "reasoning": {
            "effort": reasoning.effort if reasoning else None,
            "summary": reasoning.wanted_summary if reasoning else None,
        },
        "safety_identifier": request.safety_identifier,
        "service_tier": tier.value,
        "store": request.store,
        "temperature": request.temperature,
        "text": request.text.model_dump(by_alias=True),
        "tool_choice": choice if isinstance(choice, str) else choice.model_dump(exclude_unset=True),
        "tools": [tool.echo() for tool in request.tools],
        "top_logprobs": request.top_logprobs,
        "top_p": request.top_p,
        "truncation": request.truncation,
        "usage": None,
        "user": request.user,
    }
    if request.prompt is not None:
        document["prompt"] = _prompt(request.prompt)
    if request.prompt_cache_options is not None:
        options = request.prompt_cache_options
        document["prompt_cache_options"] = options.model_dump(exclude={"prewarm"}, exclude_none=True)
    return document


def _prompt(prompt: PromptReference) -> dict[str, Any]:
    """The prompt reference with the version used; without bytes of images and files, which every poll would repeat."""
    variables = prompt.model_dump(exclude_none=True)["variables"]
    for value in variables.values():
        if isinstance(value, dict):
            value.pop("file_data", None)
            if value.get("image_url", "")[:5].lower() == "data:":
                del value["image_url"]
    return {"id": prompt.id, "version": prompt.version, "variables": variables}


def again(document: Document, response_id: str, created_at: int) -> Document:
    """The object of a new background response that repeats the ended response of `document`.

    Args:
        created_at: Unix seconds.
    """
    return as_created(document) | {"id": response_id, "created_at": created_at, "background": True}


def as_created(document: Document) -> Document:
    """The object as it was when the response was created, derived from any later state of it."""
    return document | {
        "status": Status.QUEUED.value,
        "completed_at": None,
        "error": None,
        "incomplete_details": None,
        "output": [],
        "usage": None,
    }


def running(document: Document, output: list[dict[str, Any]]) -> Document:
    """The object of a running response, with the output committed so far."""
    return document | {"status": Status.IN_PROGRESS.value, "output": output}


def usage(input_tokens: int, output_tokens: int, cached_tokens: int, reasoning_tokens: int) -> dict[str, Any]:
    """The `usage` object of a response.

    Source: openai types ResponseUsage, where `cache_write_tokens` is required.
    """
    return {
        "input_tokens": input_tokens,
        "input_tokens_details": {"cached_tokens": cached_tokens, "cache_write_tokens": 0},
        "output_tokens": output_tokens,
        "output_tokens_details": {"reasoning_tokens": reasoning_tokens},
        "total_tokens": input_tokens + output_tokens,
    }


def ended(
    document: Document,
    status: Status,
    output: list[dict[str, Any]],
    *,
    now: int,
    error: dict[str, str] | None,
    incomplete_reason: str | None,
    usage: dict[str, Any] | None,
) -> Document:
    """The final object of a response.

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
