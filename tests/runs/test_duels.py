"""A transaction of several statements, interrupted by another session's call between any two of them."""

import pytest

from tests.runs.playing import play, world
from tests.runs.world import World

__all__ = ["world"]

# The state of the response, the interrupted call and the interrupting call.
DUELS = [
    ("running, with output", "end", "record"),
    ("running, with output", "cancel", "record"),
    ("running, with output", "cancel", "end"),
    ("running, with output", "hand_back", "record"),
    ("running, with output", "end", "renew"),
    ("dispatched", "cancel", "claim"),
    ("ended", "delete", "cancel"),
    ("lease over", "sweep", "renew"),
    ("lease over", "sweep", "record"),
    ("lease over", "sweep", "end"),
    ("lease over for the last time", "sweep", "renew"),
    ("run over", "sweep", "hand_back"),
    ("run over", "sweep", "renew"),
    ("overdue before it ran", "sweep", "claim"),
    ("dispatched long ago", "sweep", "claim"),
]
PLACES = 8  # as many statements as a sweep needs to handle what has expired


@pytest.mark.parametrize(("before", "long", "short"), DUELS, ids=[" / ".join(duel) for duel in DUELS])
def test_a_call_between_any_two_statements_of_another_is_as_if_before_or_after_it(
    world: World, before: str, long: str, short: str
) -> None:
    for place in range(PLACES):
        play(world, (before, "waiting"), [[(long, [0], False)], [(short, [0], False)]], [0] * place + [1] * 20)
