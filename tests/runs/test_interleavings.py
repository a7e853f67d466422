"""Transactions of several sessions, interleaved statement by statement: some order of the calls explains the result."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.runs.playing import BEFORE, play, world
from tests.runs.world import World

__all__ = ["world"]

# Weights of the calls, of 26 in total; and the states with the most possible interactions.
CALLS = {
    "record": 5,
    "renew": 3,
    "end": 2,
    "end_batch": 2,
    "hand_back": 2,
    "claim": 2,
    "claim_batch": 2,
    "cancel": 3,
    "delete": 1,
    "sweep": 3,
    "dispatch": 1,
}
RICH = [
    "running, with output",
    "lease over",
    "lease over for the last time",
    "run over",
    "second attempt is dispatched",
    "overdue before it ran",
]
names = st.sampled_from([name for name, weight in CALLS.items() for _ in range(weight)])
calls = st.tuples(names, st.sampled_from([[0], [0], [0], [0, 1], [1, 0], [1]]), st.booleans())
long_ones = st.sampled_from(["end", "end_batch", "hand_back", "cancel", "sweep", "sweep"])
duels = st.tuples(*[st.tuples(some, st.just([0]), st.just(False)) for some in (long_ones, names)]).map(
    lambda two: [[one] for one in two]
)
scenes = {
    "before": st.tuples(st.sampled_from([*RICH, *RICH, *RICH, *BEFORE]), st.sampled_from(list(BEFORE))),
    "programs": duels | st.lists(st.lists(calls, min_size=1, max_size=2), min_size=2, max_size=3),
    "turns": st.lists(st.integers(0, 5), min_size=20, max_size=20),
}


def budget(examples: int) -> settings:
    return settings(
        max_examples=examples,
        derandomize=examples < 1000,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )


def test_sessions_interleaved_statement_by_statement_do_what_some_order_of_their_calls_does(world: World) -> None:
    budget(120)(given(**scenes)(lambda **scene: play(world, **scene)))()


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_thousands_of_such_interleavings(world: World) -> None:
    budget(5000)(given(**scenes)(lambda **scene: play(world, **scene)))()
