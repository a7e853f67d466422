"""What the matrix of features looks at in a response."""

from typing import Any

from openai.types.responses import Response


def text(response: Response) -> Any:
    return response.status, response.output_text


def parts(response: Response) -> Any:
    """Every part of every item, by its type and what it says."""
    return [
        (part["type"], part.get("text") or part.get("refusal"))
        for item in response.model_dump()["output"]
        for part in (*(item.get("summary") or ()), *(item.get("content") or ()))
    ]


def calls(response: Response) -> Any:
    return [
        (item["type"], item["call_id"], item["name"], item.get("arguments") or item.get("input"))
        for item in response.model_dump()["output"]
    ]


def calls_after_text(response: Response) -> Any:
    assert response.output_text == "So"
    return [item.call_id for item in response.output if item.type == "function_call"]


def usage(response: Response) -> Any:
    assert response.usage is not None
    counted = response.usage
    return (
        counted.output_tokens,
        counted.input_tokens_details.cached_tokens,
        counted.output_tokens_details.reasoning_tokens,
    )


def why(response: Response) -> Any:
    return response.status, response.incomplete_details and response.incomplete_details.reason


def failure(response: Response) -> Any:
    return response.status, response.error and response.error.code


def logprobs(response: Response) -> Any:
    return [
        (
            one["token"],
            one["bytes"],
            one["logprob"],
            [other["token"] for other in one["top_logprobs"]],
        )
        for one in response.model_dump()["output"][0]["content"][0]["logprobs"]
    ]


def annotations(response: Response) -> Any:
    return response.model_dump()["output"][0]["content"][0]["annotations"]
