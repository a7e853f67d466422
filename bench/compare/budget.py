"""How the time of a comparison is divided: what fits into it is decided before it is begun."""

import time
from collections.abc import Mapping, Sequence

# Of the time that is left, how much the first round may take, so that others can follow.
FIRST_ROUND = 0.35
# Of the time that is left after the first round, kept for measuring again what looks worse.
RESERVE = 0.25


class Budget:
    """Time from now on."""

    def __init__(self, seconds: float) -> None:
        self._began_at = time.monotonic()
        self._until = self._began_at + seconds

    @property
    def spent(self) -> float:
        return time.monotonic() - self._began_at

    @property
    def left(self) -> float:
        """Seconds; never negative."""
        return max(0.0, self._until - time.monotonic())


def affordable(costs: Mapping[str, float], rounds: int, seconds: float) -> list[str]:
    """The measures that can be repeated so many times within the time; the most expensive ones are dropped first.

    Args:
        costs: seconds of one round, by measure.
    """
    kept = dict(costs)
    for name in sorted(costs, key=lambda name: costs[name], reverse=True):
        if rounds * sum(kept.values()) <= seconds:
            break
        del kept[name]
    return list(kept)


def first_that_fit(costs: Mapping[str, float], order: Sequence[str], seconds: float) -> list[str]:
    """Of measures in the order of their importance, those that fit into the time beside the more important ones.

    Args:
        costs: seconds that each needs in all.
    """
    chosen: list[str] = []
    for name in order:
        if costs[name] <= seconds:
            chosen.append(name)
            seconds -= costs[name]
    return chosen
