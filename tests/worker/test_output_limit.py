"""The limit of an output in bytes, which counts texts and all other values."""

import pytest

from worker.run.output_limit import OutputLimit


def test_a_text_is_cut_at_a_character_and_nothing_fits_afterwards() -> None:
    limit = OutputLimit(10)

    assert limit.cut_text("abc") == "abc"
    assert not limit.is_reached
    assert limit.cut_text("€€€") == "€€"  # six of the remaining seven bytes
    assert limit.is_reached
    assert limit.cut_text("d") == ""
    assert not limit.try_add()


def test_a_text_that_fits_exactly_does_not_reach_the_limit() -> None:
    limit = OutputLimit(6)

    assert limit.cut_text("abcdef") == "abcdef"
    assert not limit.is_reached
    assert limit.cut_text("g") == ""
    assert limit.is_reached


@pytest.mark.parametrize("value", ["x" * 600, {"url": "x" * 600}, ["x"] * 200], ids=["text", "object", "list"])
def test_a_value_that_does_not_fit_is_not_counted_and_ends_the_output(value: object) -> None:
    limit = OutputLimit(1100)

    assert limit.try_add("short")
    assert not limit.try_add(value)
    assert limit.is_reached


def test_the_output_of_earlier_attempts_is_counted() -> None:
    item = {"type": "message", "content": [{"type": "output_text", "text": "x" * 100}]}

    assert OutputLimit(100, [item]).is_reached
    assert OutputLimit(300, [item]).cut_text("y" * 300).count("y") < 200
