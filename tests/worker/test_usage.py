"""Token counts of a model server are charged if they are possible; otherwise they are replaced by estimates."""

from dataclasses import replace

import pytest

from core.bootstrap import Core
from tests.harness.engine import claim, create_caller, register_worker, submit
from worker.models.protocol import AnswerEnd, TextDelta, TokenUsage
from worker.run.output import OutputWriter
from worker.run.run import Run

LONG_INPUT = "word " * 40_000


def write_output(
    core: Core,
    counts: tuple[int, int],
    context_window: int | None,
    request_fields: dict[str, object],
    *,
    prefix: str = "",
) -> OutputWriter:
    """Write an answer of one token; the model server reports `counts`, the numbers of input and output tokens."""
    register_worker(core)
    attempt = replace(claim(core, submit(core, create_caller(core), **request_fields)), prefix=prefix)
    run = Run(attempt, leased_until=0, wake=lambda _: None, wake_later=lambda: None)
    writer = OutputWriter(run, core.seals, limit_bytes=core.settings.output_limit_bytes, context_window=context_window)
    for output in (TextDelta("yes"), AnswerEnd("stop"), TokenUsage(*counts)):
        writer.add(output)
    return writer


@pytest.mark.parametrize(
    ("counts", "context_window", "request_fields"),
    [
        ((2**53 - 1, 1), None, {}),
        ((1, 2**53 - 1), None, {}),
        ((20_000, 1), None, {}),
        ((300_000, 1), None, {"input": LONG_INPUT}),
        ((1, 1_100_000), None, {}),
        ((1, 20_000), None, {"max_output_tokens": 100}),
        ((4000, 97), 4096, {}),
    ],
    ids=["input 2^53", "output 2^53", "short prompt", "long prompt", "output", "max_output_tokens", "context window"],
)
def test_an_impossible_token_count_is_replaced_by_an_estimate(
    core: Core, counts: tuple[int, int], context_window: int | None, request_fields: dict[str, object]
) -> None:
    writer = write_output(core, counts, context_window, request_fields)

    attempt_usage = writer.attempt_usage()

    assert attempt_usage.estimated
    assert attempt_usage.input_tokens < 60_000
    assert attempt_usage.output_tokens == 1
    assert writer.outcome().usage["total_tokens"] == attempt_usage.input_tokens + 1


@pytest.mark.parametrize(
    ("counts", "context_window", "request_fields"),
    [
        ((16_000, 1), None, {}),
        ((150_000, 1), None, {"input": LONG_INPUT}),
        ((1, 900_000), None, {}),
        ((1, 110), None, {"max_output_tokens": 100}),
        ((4000, 96), 4096, {}),
    ],
    ids=["template", "long prompt", "hidden reasoning", "max_output_tokens", "context window"],
)
def test_a_possible_token_count_is_charged_as_reported(
    core: Core, counts: tuple[int, int], context_window: int | None, request_fields: dict[str, object]
) -> None:
    attempt_usage = write_output(core, counts, context_window, request_fields).attempt_usage()

    assert not attempt_usage.estimated
    assert (attempt_usage.input_tokens, attempt_usage.output_tokens) == counts


def test_a_continued_text_increases_the_possible_input(core: Core) -> None:
    writer = write_output(core, (60_000, 1), None, {})
    assert writer.attempt_usage().estimated
    writer = write_output(core, (60_000, 1), None, {}, prefix=LONG_INPUT)
    assert not writer.attempt_usage().estimated
