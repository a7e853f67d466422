"""The time budget of a comparison, and the selection of measurements that fit into it."""

import time
from collections.abc import Mapping, Sequence

# Maximum share of the time budget that the first round may use, so that further rounds are possible.
FIRST_ROUND_SHARE = 0.35
# Share of the time after the first round that is reserved for a second measurement of rows that look worse.
RESERVE_SHARE = 0.25


class Budget:
    """A time budget that starts when the object is created."""

    def __init__(self, seconds: float) -> None:
        self._began_at = time.monotonic()
        self._deadline = self._began_at + seconds

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._began_at

    @property
    def remaining_s(self) -> float:
        """Remaining seconds; never negative."""
        return max(0.0, self._deadline - time.monotonic())


def select_affordable(costs: Mapping[str, float], rounds: int, seconds: float) -> list[str]:
    """Select measures that can all be repeated `rounds` times in `seconds`; drop the most expensive measures first.

    Args:
        costs: seconds per round, by measure.
    """
    selected = dict(costs)
    for name in sorted(costs, key=lambda name: costs[name], reverse=True):
        if rounds * sum(selected.values()) <= seconds:
            break
        del selected[name]
    return list(selected)


def select_in_order(costs: Mapping[str, float], order: Sequence[str], seconds: float) -> list[str]:
    """Select measures in the order of importance, and skip each measure that does not fit into the rest of `seconds`.

    Args:
        costs: total seconds of each measure.
        order: names of the measures, the most important first.
    """
    selected: list[str] = []
    for name in order:
        if costs[name] <= seconds:
            selected.append(name)
            seconds -= costs[name]
    return selected
