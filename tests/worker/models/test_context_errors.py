"""Errors of real model servers, as quoted by users, for requests that are too long and for other causes."""

import json

import pytest

from core.errors import ContextExceeded
from worker.models import failures

TOO_LONG = {
    # vllm-project/vllm, issue 20409
    "vLLM": (
        ("This model's maximum context length is 16384 tokens. However, you requested 122946 tokens (112946 in the "
        "messages, 10000 in the completion). Please reduce the length of the messages or completion."),
        {"type": "BadRequestError", "code": 400},
        (122946, 16384),
    ),
    # vllm/entrypoints/openai/serving_engine.py
    "vLLM, the prompt alone": (
        ("This model's maximum context length is 2048 tokens. However, your request has 3000 input tokens. Please "
        "reduce the length of the input messages."),
        {"type": "BadRequestError", "code": 400},
        (3000, 2048),
    ),
    # OpenAI's, as in rahul2002m/ChatPDF, issue 6
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
    "SGLang, older": (
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
    "llama.cpp, with the numbers in words": (
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

OTHERS = {
    "a wrong value": "temperature must be at most 2",
    "too many images": "At most 1 image(s) may be provided in one request.",
    "a long name": "The name of a tool is too long: at most 64 characters.",
    "a wrong number": "max_tokens must be at least 1, got -186.",
    "an unknown model": "The model `x` does not exist.",
    "a bad schema": "Invalid grammar: too many rules in context-free grammar",
}


def too_long(status: int, raw: bytes) -> bool:
    return isinstance(failures.of_answer(status, raw, {}), ContextExceeded)


@pytest.mark.parametrize(("words", "fields", "numbers"), TOO_LONG.values(), ids=TOO_LONG)
@pytest.mark.parametrize("status", [400, 500])
@pytest.mark.parametrize("nested", [True, False])
def test_what_servers_say_of_too_long_a_request_is_understood_with_its_numbers(
    words: str, fields: dict[str, object], numbers: tuple[int | None, int | None], status: int, nested: bool
) -> None:
    error = {"message": words} | fields

    found = failures.of_answer(status, json.dumps({"error": error} if nested else error).encode(), {})

    assert isinstance(found, ContextExceeded)
    assert (found.tokens, found.limit) == numbers
    assert (found.code, found.kind) == ("invalid_prompt", "context_length_exceeded")


@pytest.mark.parametrize("words", OTHERS.values(), ids=OTHERS)
def test_what_they_say_of_other_things_is_not_mistaken_for_it(words: str) -> None:
    assert not too_long(400, json.dumps({"error": {"message": words}}).encode())


@pytest.mark.parametrize(
    "raw",
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
def test_any_body_is_read(raw: bytes) -> None:
    assert too_long(400, raw) == (b"context" in raw)


def test_a_status_that_means_something_else_is_not_looked_into() -> None:
    assert not too_long(429, b"maximum context length is 1")
