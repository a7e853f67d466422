"""Transactions of several sessions, interleaved statement by statement, have the effect of some serial order."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.runs.playing import INITIAL_STATES, play, world
from tests.runs.world import World

__all__ = ["world"]

# Weights of the calls; their sum is 26.
CALL_WEIGHTS = {
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
# The initial states with the most possible interactions.
FREQUENT_STATES = [
    "running, with output",
    "lease expired",
    "lease expired for the last time",
    "run deadline exceeded",
    "second attempt is dispatched",
    "queue deadline exceeded",
]
call_names = st.sampled_from([name for name, weight in CALL_WEIGHTS.items() for _ in range(weight)])
calls = st.tuples(call_names, st.sampled_from([[0], [0], [0], [0, 1], [1, 0], [1]]), st.booleans())
long_call_names = st.sampled_from(["end", "end_batch", "hand_back", "cancel", "sweep", "sweep"])
duels = st.tuples(*[st.tuples(names, st.just([0]), st.just(False)) for names in (long_call_names, call_names)]).map(
    lambda duel: [[call] for call in duel]
)
scenes = {
    "initial_states": st.tuples(
        st.sampled_from([*FREQUENT_STATES, *FREQUENT_STATES, *FREQUENT_STATES, *INITIAL_STATES]),
        st.sampled_from(list(INITIAL_STATES)),
    ),
    "programs": duels | st.lists(st.lists(calls, min_size=1, max_size=2), min_size=2, max_size=3),
    "schedule": st.lists(st.integers(0, 5), min_size=20, max_size=20),
}


def example_settings(examples: int) -> settings:
    return settings(
        max_examples=examples,
        derandomize=examples < 1000,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )


def test_interleaved_sessions_have_the_effect_of_some_serial_order(world: World) -> None:
    example_settings(120)(given(**scenes)(lambda **scene: play(world, **scene)))()


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_thousands_of_interleavings_have_the_effect_of_some_serial_order(world: World) -> None:
    example_settings(5000)(given(**scenes)(lambda **scene: play(world, **scene)))()
