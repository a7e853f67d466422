"""Divides the time of a comparison: measurements are selected in advance so that they fit."""

import time
from collections.abc import Mapping, Sequence

# Share of the remaining time that the first round may use, so that further rounds are possible.
FIRST_ROUND = 0.35
# Share of the time after the first round that is reserved for measuring rows again that look worse.
RESERVE = 0.25


class Budget:
    """A time budget that starts now."""

    def __init__(self, seconds: float) -> None:
        self._began_at = time.monotonic()
        self._until = self._began_at + seconds

    @property
    def spent(self) -> float:
        return time.monotonic() - self._began_at

    @property
    def left(self) -> float:
        """Remaining seconds; never negative."""
        return max(0.0, self._until - time.monotonic())


def affordable(costs: Mapping[str, float], rounds: int, seconds: float) -> list[str]:
    """The measures that can be repeated `rounds` times within the time; the most expensive ones are dropped first.

    Args:
        costs: seconds per round, by measure.
    """
    kept = dict(costs)
    for name in sorted(costs, key=lambda name: costs[name], reverse=True):
        if rounds * sum(kept.values()) <= seconds:
            break
        del kept[name]
    return list(kept)


def first_that_fit(costs: Mapping[str, float], order: Sequence[str], seconds: float) -> list[str]:
    """The measures that fit into the time, chosen greedily in order of importance.

    Args:
        costs: total seconds of each measure.
        order: names of the measures, the most important first.
    """
    chosen: list[str] = []
    for name in order:
        if costs[name] <= seconds:
            chosen.append(name)
            seconds -= costs[name]
    return chosen
