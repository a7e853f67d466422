"""Continuing a text after any cut loses nothing and repeats nothing."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.models.protocol import TextDelta
from worker.run.splice import Splice

texts = st.text(alphabet="ab \n{}", max_size=60)


def joined(splice: Splice, answer: str, cuts: list[int]) -> str:
    """The text emitted for an answer that arrives in pieces."""
    places = [0, *sorted(cut % (len(answer) + 1) for cut in cuts), len(answer)]
    pieces = [answer[one:two] for one, two in itertools.pairwise(places)]
    return "".join(delta.text for piece in pieces for delta in splice.feed(TextDelta(piece))) + "".join(
        delta.text for delta in splice.end()
    )


@given(texts, st.integers(0, 60), st.lists(st.integers(0, 60), max_size=6))
def test_a_text_that_is_gone_on_with_is_whole_wherever_it_was_cut(text: str, at: int, cuts: list[int]) -> None:
    shown = text[: at % (len(text) + 1)]
    splice = Splice(shown, grammar=False)
    rest = text[len(splice.prefix) :]
    if len(splice.prefix) >= 32 and rest.startswith(splice.prefix):
        return  # a text that repeats its own beginning is indistinguishable from an echo

    assert shown + joined(splice, rest, cuts) == text


@given(texts, st.integers(0, 60), st.lists(st.integers(0, 60), max_size=6))
def test_a_server_that_sends_the_beginning_along_repeats_nothing(text: str, at: int, cuts: list[int]) -> None:
    shown = text[: at % (len(text) + 1)]

    assert shown + joined(Splice(shown, grammar=True), text, cuts) == text


def test_logprobs_of_what_is_left_out_are_left_out() -> None:
    tokens = [{"token": token, "logprob": -1.0, "bytes": [], "top_logprobs": []} for token in (" ", "b", "c")]
    splice = Splice("a ", grammar=False)

    (delta,) = splice.feed(TextDelta(" bc", tuple(tokens)))

    assert delta.text == "bc"
    assert [one["token"] for one in delta.logprobs] == ["b", "c"]


@pytest.mark.parametrize("whole", ["", " ", "  "])
def test_white_space_that_is_already_shown_is_not_shown_again(whole: str) -> None:
    splice = Splice(f"a{whole}", grammar=False)

    assert joined(splice, f"{whole}b", [1]) == "b"
