"""The errors with which model servers refuse a request that is too long, as quoted by their users or source code."""

import json

import pytest

from core.errors import ContextExceeded
from worker.models import failures

# By server: the message, the other fields of the error, and the numbers of tokens in the request and in the context.
TOO_LONG_ERRORS = {
    # vllm-project/vllm, issue 20409
    "vLLM": (
        ("This model's maximum context length is 16384 tokens. However, you requested 122946 tokens (112946 in the "
        "messages, 10000 in the completion). Please reduce the length of the messages or completion."),
        {"type": "BadRequestError", "code": 400},
        (122946, 16384),
    ),
    # vllm/entrypoints/openai/serving_engine.py
    "vLLM, prompt only": (
        ("This model's maximum context length is 2048 tokens. However, your request has 3000 input tokens. Please "
        "reduce the length of the input messages."),
        {"type": "BadRequestError", "code": 400},
        (3000, 2048),
    ),
    # rahul2002m/ChatPDF, issue 6
    "OpenAI": (
        ("This model's maximum context length is 4097 tokens. However, your messages resulted in 6988 tokens. Please "
        "reduce the length of the messages."),
        {"type": "invalid_request_error", "param": "messages", "code": "context_length_exceeded"},
        (6988, 4097),
    ),
    "OpenAI's Responses API": (
        "Your input exceeds the context window of this model. Please adjust your input and try again.",
        {"type": "invalid_request_error", "param": "input", "code": "context_length_exceeded"},
        (None, None),
    ),
    # anomalyco/opencode, pull request 25230
    "SGLang": (
        ("Requested token count exceeds the model's maximum context length of 202752 tokens. You requested a total of "
        "202941 tokens: 170941 tokens from the input messages and 32000 tokens for the completion."),
        {"type": "BadRequestError", "code": 400},
        (202941, 202752),
    ),
    # QwenLM/Qwen3, issue 1321
    "SGLang, older version": (
        "The input (61709 tokens) is longer than the model's context length (40960 tokens).",
        {"type": "BadRequestError", "code": 400},
        (61709, 40960),
    ),
    # ggml-org/llama.cpp, pull request 15780
    "llama.cpp": (
        "the request exceeds the available context size. try increasing the context size or enable context shift",
        {"code": 500, "type": "exceed_context_size_error", "n_prompt_tokens": 1407, "n_ctx": 256},
        (1407, 256),
    ),
    "llama.cpp, with the numbers in the message": (
        "request (2091 tokens) exceeds the available context size (2048 tokens), try increasing it",
        {"code": 400, "type": "exceed_context_size_error"},
        (2091, 2048),
    ),
    # abetlen/llama-cpp-python
    "llama-cpp-python": (
        "Requested tokens (2285) exceed context window of 2048",
        {"type": "internal_server_error", "code": None},
        (2285, 2048),
    ),
    "TGI": (
        ("Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 4000 `inputs` tokens and "
        "500 `max_new_tokens`"),
        {"type": "validation"},
        (4000, 4096),
    ),
    "Anthropic": (
        "prompt is too long: 208310 tokens > 200000 maximum",
        {"type": "invalid_request_error"},
        (208310, 200000),
    ),
    "Bedrock": ("Input is too long for requested model.", {"type": "invalid_request_error"}, (None, None)),
    "Ollama": ("the input length exceeds the context length", {"type": "invalid_request_error"}, (None, None)),
}  # fmt: skip

OTHER_ERRORS = {
    "a wrong value": "temperature must be at most 2",
    "too many images": "At most 1 image(s) may be provided in one request.",
    "a long name": "The name of a tool is too long: at most 64 characters.",
    "a wrong number": "max_tokens must be at least 1, got -186.",
    "an unknown model": "The model `x` does not exist.",
    "a bad schema": "Invalid grammar: too many rules in context-free grammar",
}


def is_context_error(status: int, body: bytes) -> bool:
    return isinstance(failures.answer_error(status, body, {}), ContextExceeded)


@pytest.mark.parametrize(("message", "fields", "token_counts"), TOO_LONG_ERRORS.values(), ids=TOO_LONG_ERRORS)
@pytest.mark.parametrize("status", [400, 500])
@pytest.mark.parametrize("is_nested", [True, False])
def test_errors_for_too_long_requests_are_recognized_with_their_token_counts(
    message: str, fields: dict[str, object], token_counts: tuple[int | None, int | None], status: int, is_nested: bool
) -> None:
    error = {"message": message} | fields

    body = json.dumps({"error": error} if is_nested else error).encode()
    context_error = failures.answer_error(status, body, {})

    assert isinstance(context_error, ContextExceeded)
    assert (context_error.tokens, context_error.limit) == token_counts
    assert (context_error.code, context_error.kind) == ("invalid_prompt", "context_length_exceeded")


@pytest.mark.parametrize("message", OTHER_ERRORS.values(), ids=OTHER_ERRORS)
def test_other_errors_are_not_recognized_as_too_long_requests(message: str) -> None:
    assert not is_context_error(400, json.dumps({"error": {"message": message}}).encode())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"5",
        b"[]",
        b'{"error": null}',
        b"\xff",
        b'{"error": "context length"}',
        b'{"error": {"code": {}, "type": [1]}}',
    ],
)
def test_an_error_body_of_any_form_is_classified(body: bytes) -> None:
    assert is_context_error(400, body) == (b"context" in body)


def test_the_message_of_an_unrelated_status_is_not_inspected() -> None:
    assert not is_context_error(429, b"maximum context length is 1")
