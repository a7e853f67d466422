"""The continuation of a text after any cut loses no text and repeats no text."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.models.protocol import TextDelta
from worker.run.splice import Splice

MIN_ECHO_LENGTH = 32  # a shorter repetition of the prefix is not removed
texts = st.text(alphabet="ab \n{}", max_size=60)


def splice_answer(splice: Splice, answer: str, cuts: list[int]) -> str:
    """Return the text that is shown for an answer that arrives in pieces."""
    positions = [0, *sorted(cut % (len(answer) + 1) for cut in cuts), len(answer)]
    pieces = [answer[start:end] for start, end in itertools.pairwise(positions)]
    deltas = [delta for piece in pieces for delta in splice.feed(TextDelta(piece))]
    return "".join(delta.text for delta in [*deltas, *splice.end()])


@given(texts, st.integers(0, 60), st.lists(st.integers(0, 60), max_size=6))
def test_a_continued_text_is_complete_for_every_cut(text: str, cut: int, chunk_cuts: list[int]) -> None:
    shown_text = text[: cut % (len(text) + 1)]
    splice = Splice(shown_text, is_constrained=False)
    continuation = text[len(splice.prefix) :]
    if len(splice.prefix) >= MIN_ECHO_LENGTH and continuation.startswith(splice.prefix):
        return  # a text that repeats its own beginning is indistinguishable from an echo

    assert shown_text + splice_answer(splice, continuation, chunk_cuts) == text


@given(texts, st.integers(0, 60), st.lists(st.integers(0, 60), max_size=6))
def test_an_echo_of_the_prefix_is_removed(text: str, cut: int, chunk_cuts: list[int]) -> None:
    shown_text = text[: cut % (len(text) + 1)]

    assert shown_text + splice_answer(Splice(shown_text, is_constrained=True), text, chunk_cuts) == text


def test_log_probabilities_of_removed_text_are_removed() -> None:
    tokens = [{"token": token, "logprob": -1.0, "bytes": [], "top_logprobs": []} for token in (" ", "b", "c")]
    splice = Splice("a ", is_constrained=False)

    (delta,) = splice.feed(TextDelta(" bc", tuple(tokens)))

    assert delta.text == "bc"
    assert [logprob["token"] for logprob in delta.logprobs] == ["b", "c"]


@pytest.mark.parametrize("whitespace", ["", " ", "  "])
def test_whitespace_at_the_end_of_the_prefix_is_not_repeated(whitespace: str) -> None:
    splice = Splice(f"a{whitespace}", is_constrained=False)

    assert splice_answer(splice, f"{whitespace}b", [1]) == "b"
