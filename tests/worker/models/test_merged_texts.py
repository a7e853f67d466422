"""Consecutive texts from a model server are merged into one delta."""

from collections.abc import Iterator

import pytest

from core import errors
from worker.models.http import merge_texts
from worker.models.protocol import AnswerEnd, HiddenProgress, Output, ReasoningDelta, TextDelta


def test_consecutive_texts_are_merged_without_a_change_of_order() -> None:
    text_with_logprobs = TextDelta("d", ({"token": "d"},))
    outputs: list[Output] = [
        TextDelta("a"),
        TextDelta("b"),
        ReasoningDelta("thought"),
        ReasoningDelta("more"),
        TextDelta("c"),
        text_with_logprobs,
        HiddenProgress(),
        TextDelta("e"),
        AnswerEnd("stop"),
        TextDelta("f"),
        TextDelta("g"),
    ]

    assert list(merge_texts(iter(outputs))) == [
        TextDelta("ab", delta_count=2),
        ReasoningDelta("thought"),
        ReasoningDelta("more"),
        TextDelta("c"),
        text_with_logprobs,
        HiddenProgress(),
        TextDelta("e"),
        AnswerEnd("stop"),
        TextDelta("fg", delta_count=2),
    ]


def test_text_before_a_failure_is_not_lost() -> None:
    def outputs() -> Iterator[Output]:
        yield TextDelta("a")
        yield TextDelta("b")
        raise errors.TransientError("It broke.")

    received_outputs = []
    with pytest.raises(errors.TransientError):
        for output in merge_texts(outputs()):
            received_outputs.append(output)  # noqa: PERF402  # a list comprehension would lose the output with the error

    assert received_outputs == [TextDelta("ab", delta_count=2)]
