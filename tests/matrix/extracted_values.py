"""Functions that extract from a response the value that a feature of the matrix compares."""

from typing import Any

from openai.types.responses import Response


def text(response: Response) -> Any:
    """Return the status and the output text."""
    return response.status, response.output_text


def parts(response: Response) -> Any:
    """Return the type and text of every part of every item."""
    return [
        (part["type"], part.get("text") or part.get("refusal"))
        for item in response.model_dump()["output"]
        for part in (*(item.get("summary") or ()), *(item.get("content") or ()))
    ]


def calls(response: Response) -> Any:
    """Return the type, call ID, name and arguments of every tool call."""
    return [
        (item["type"], item["call_id"], item["name"], item.get("arguments") or item.get("input"))
        for item in response.model_dump()["output"]
    ]


def calls_after_text(response: Response) -> Any:
    """Return the call IDs; assert that the output text is `So`."""
    assert response.output_text == "So"
    return [item.call_id for item in response.output if item.type == "function_call"]


def usage(response: Response) -> Any:
    """Return the numbers of output tokens, cached input tokens and reasoning tokens."""
    assert response.usage is not None
    token_usage = response.usage
    return (
        token_usage.output_tokens,
        token_usage.input_tokens_details.cached_tokens,
        token_usage.output_tokens_details.reasoning_tokens,
    )


def incomplete_reason(response: Response) -> Any:
    """Return the status and the reason for an incomplete response."""
    return response.status, response.incomplete_details and response.incomplete_details.reason


def status_and_code(response: Response) -> Any:
    """Return the status and the error code."""
    return response.status, response.error and response.error.code


def logprobs(response: Response) -> Any:
    """Return each token with its bytes, log probability and alternatives."""
    return [
        (
            entry["token"],
            entry["bytes"],
            entry["logprob"],
            [alternative["token"] for alternative in entry["top_logprobs"]],
        )
        for entry in response.model_dump()["output"][0]["content"][0]["logprobs"]
    ]


def annotations(response: Response) -> Any:
    """Return the annotations of the first part of the first item."""
    return response.model_dump()["output"][0]["content"][0]["annotations"]
