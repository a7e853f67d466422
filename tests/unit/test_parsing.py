"""Which parameters are served, ignored or refused, and that refusing is cheap; no server, no database."""

import json
import tracemalloc
import typing
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from openai.types.responses import response_create_params
from openresponses_types.types import CreateResponseBody

from app import parsing
from core import errors
from core.schemas.request import UNSUPPORTED, CreateResponse

GOOD = {"model": "scripted", "input": "hi", "background": True}
# Of OpenAI's parameters, those that ask one vendor's servers for something no answer depends on.
IGNORED = {"access_programs", "image"}


@pytest.fixture
def app() -> Flask:
    return Flask("test")


def parse(app: Flask, **changes: Any) -> CreateResponse:
    with app.test_request_context("/v1/responses", method="POST", json=GOOD | changes):
        return parsing.create_response()


def refusal(app: Flask, **changes: Any) -> errors.InvalidRequest:
    with pytest.raises(errors.InvalidRequest) as refused:
        parse(app, **changes)
    return refused.value


def test_every_parameter_of_the_published_apis_is_served_refused_by_name_or_known_to_be_harmless() -> None:
    openai = set(typing.get_type_hints(response_create_params.ResponseCreateParamsBase)) | {"stream"}
    published = openai | set(CreateResponseBody.model_fields)

    assert published - set(CreateResponse.model_fields) - set(UNSUPPORTED) == IGNORED
    assert set(UNSUPPORTED) <= published
    assert not set(UNSUPPORTED) & set(CreateResponse.model_fields)


UNSERVED: dict[str, Any] = {
    "background_options": {"completion_window": "2h"},
    "context_management": [{"type": "compaction"}],
    "conversation": "conv_1",
    "frequency_penalty": 0.5,
    "include": ["message.output_text.logprobs"],
    "max_tool_calls": 3,
    "moderation": {"model": "m"},
    "parallel_tool_calls": False,
    "presence_penalty": -1,
    "previous_response_id": "resp_1",
    "prompt": {"id": "pmpt_1"},
    "prompt_cache_key": "k",
    "prompt_cache_options": {"mode": "explicit"},
    "prompt_cache_retention": "24h",
    "reasoning": {"effort": "high"},
    "safety_identifier": "s",
    "stream": True,
    "stream_options": {"include_obfuscation": False},
    "text": {"format": {"type": "json_object"}},
    "tool_choice": "required",
    "tools": [{"type": "function", "name": "f"}],
    "top_logprobs": 5,
    "truncation": "auto",
    "user": "u",
}


def test_there_is_an_example_of_every_parameter_that_is_not_served() -> None:
    assert UNSERVED.keys() == UNSUPPORTED.keys()


@pytest.mark.parametrize("name", UNSERVED)
def test_a_parameter_that_is_not_served_is_refused_by_name_and_null_is_as_if_left_out(app: Flask, name: str) -> None:
    for value in (UNSERVED[name], "nonsense", 5, True if name != "parallel_tool_calls" else 1, {"a": {}}, [[]]):
        error = refusal(app, **{name: value})
        assert (error.code, error.param) == ("unsupported_parameter", name)
        assert str(error) == f"'{name}' is not supported."

    assert parse(app, **{name: None}) == parse(app)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("background_options", {}),
        ("background_options", {"completion_window": "soonest", "continuation_id": None}),
        ("frequency_penalty", 0),
        ("frequency_penalty", 0.0),
        ("include", []),
        ("parallel_tool_calls", True),
        ("presence_penalty", 0),
        ("reasoning", {}),
        ("reasoning", {"effort": None, "summary": None}),
        ("stream", False),
        ("text", {}),
        ("text", {"format": {"type": "text"}}),
        ("text", {"verbosity": "medium"}),
        ("text", {"format": {"type": "text"}, "verbosity": "medium"}),
        ("text", {"format": None, "verbosity": None}),
        ("tool_choice", "auto"),
        ("tool_choice", "none"),
        ("tools", []),
        ("top_logprobs", 0),
        ("truncation", "disabled"),
    ],
)
def test_a_parameter_that_is_not_served_may_state_what_is_done_anyway(app: Flask, name: str, value: Any) -> None:
    assert parse(app, **{name: value}) == parse(app)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("frequency_penalty", False),
        ("presence_penalty", "0"),
        ("parallel_tool_calls", 1),
        ("stream", 0),
        ("stream", "false"),
        ("stream", []),
        ("tools", {}),
        ("include", ""),
        ("top_logprobs", False),
        ("text", {"format": {"type": "text", "strict": True}}),
        ("text", []),
    ],
)
def test_a_value_that_only_looks_like_the_default_is_refused(app: Flask, name: str, value: Any) -> None:
    assert refusal(app, **{name: value}).param == name


def test_what_is_not_served_is_told_before_what_is_missing_without_it(app: Flask) -> None:
    assert refusal(app, model=None, input=None, prompt={"id": "pmpt_1"}).param == "prompt"
    assert refusal(app, input=None, conversation="conv_1").param == "conversation"
    assert refusal(app, input=[{"type": "function_call_output"}], tools=[{"type": "function"}]).param == "tools"


def wide() -> Iterator[tuple[str, Any]]:
    many = 300_000
    yield "input", [0] * many
    yield "input", [{}] * many
    yield "input", [{"role": "user", "content": [{}] * many}]
    yield "input", [{"role": "user", "content": [0] * many}] * 3
    yield "metadata", dict.fromkeys(map(str, range(many)), 0)
    yield "metadata", dict.fromkeys(("k" * 65 + str(n) for n in range(many)), "")


@pytest.mark.parametrize(("name", "value"), list(wide()), ids=range(6))
def test_a_body_that_is_wrong_many_times_over_costs_no_more_memory_than_one_that_is_wrong_once(
    app: Flask, name: str, value: Any
) -> None:
    body = json.dumps(GOOD | {name: value})
    with app.test_request_context("/v1/responses", method="POST", data=body, content_type="application/json"):
        tracemalloc.start()
        try:
            parsed = parsing.json_object()
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            with pytest.raises(errors.InvalidRequest):
                parsing._validate(CreateResponse, parsed)
            grown = tracemalloc.get_traced_memory()[1] - before
        finally:
            tracemalloc.stop()

    assert grown < 1_000_000


def test_a_stored_request_is_read_back_as_it_was_taken(app: Flask) -> None:
    taken = parse(
        app,
        input=[
            {"role": "user", "content": "a\0\u2028"},
            {"role": "assistant", "content": [{"type": "output_text", "text": "b"}]},
        ],
        metadata={"a": "b"},
        temperature=0,
    )

    assert CreateResponse.model_validate(json.loads(taken.model_dump_json())) == taken
