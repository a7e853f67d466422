"""Consecutive texts from a model server are joined into one delta."""

from collections.abc import Iterator

import pytest

from core import errors
from worker.models.http import joined
from worker.models.protocol import Finished, Output, ReasoningDelta, TextDelta, Thinking


def test_texts_in_a_row_become_one_and_everything_stays_in_order() -> None:
    with_logprobs = TextDelta("d", ({"token": "d"},))
    outputs: list[Output] = [
        TextDelta("a"),
        TextDelta("b"),
        ReasoningDelta("thought"),
        ReasoningDelta("more"),
        TextDelta("c"),
        with_logprobs,
        Thinking(),
        TextDelta("e"),
        Finished("stop"),
        TextDelta("f"),
        TextDelta("g"),
    ]

    assert list(joined(iter(outputs))) == [
        TextDelta("ab", deltas=2),
        ReasoningDelta("thought"),
        ReasoningDelta("more"),
        TextDelta("c"),
        with_logprobs,
        Thinking(),
        TextDelta("e"),
        Finished("stop"),
        TextDelta("fg", deltas=2),
    ]


def test_what_was_said_before_a_failure_is_not_lost_with_it() -> None:
    def outputs() -> Iterator[Output]:
        yield TextDelta("a")
        yield TextDelta("b")
        raise errors.Erred("It broke.")

    found = []
    with pytest.raises(errors.Erred):
        for output in joined(outputs()):
            found.append(output)  # noqa: PERF402  # building a list at once would lose it with the error

    assert found == [TextDelta("ab", deltas=2)]
