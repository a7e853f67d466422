"""Transactions of several sessions, interleaved statement by statement, have the effect of some serial order."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.runs.deployment import Deployment
from tests.runs.serializability import INITIAL_STATES, check_serializability, deployment

__all__ = ["deployment"]  # an imported fixture

# Relative frequencies of the calls.
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
# The arguments of `Scenario.call`: the name, the indexes of the responses, and whether to use their first attempts.
calls = st.tuples(call_names, st.sampled_from([[0], [0], [0], [0, 1], [1, 0], [1]]), st.booleans())
programs = st.lists(calls, min_size=1, max_size=2)
# Two sessions with one call for the same response; the first call has several statements.
long_call_names = st.sampled_from(["end", "end_batch", "hand_back", "cancel", "sweep", "sweep"])
interrupted_programs = st.tuples(long_call_names, st.just([0]), st.just(False)).map(lambda call: [call])
interrupting_programs = st.tuples(call_names, st.just([0]), st.just(False)).map(lambda call: [call])
interruptions = st.tuples(interrupted_programs, interrupting_programs).map(list)
scenarios = {
    "initial_states": st.tuples(
        st.sampled_from([*FREQUENT_STATES, *FREQUENT_STATES, *FREQUENT_STATES, *INITIAL_STATES]),
        st.sampled_from(list(INITIAL_STATES)),
    ),
    "programs": interruptions | st.lists(programs, min_size=2, max_size=3),
    "schedule": st.lists(st.integers(0, 5), min_size=20, max_size=20),
}


def check_scenarios(deployment: Deployment, scene_count: int) -> None:
    """Play this number of random scenarios; if there are fewer than 1000, they are the same in every run."""

    @settings(
        max_examples=scene_count,
        derandomize=scene_count < 1000,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(**scenarios)
    def check_scenario(**scenario: Any) -> None:
        check_serializability(deployment, **scenario)

    check_scenario()


def test_interleaved_sessions_have_the_effect_of_some_serial_order(deployment: Deployment) -> None:
    check_scenarios(deployment, 120)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_thousands_of_interleavings_have_the_effect_of_some_serial_order(deployment: Deployment) -> None:
    check_scenarios(deployment, 5000)
