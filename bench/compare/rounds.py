"""Rounds of measurements: each measure runs in both trees, one directly after the other, in alternating order."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from bench.compare.protocol import Figure, Measurement
from bench.compare.verdict import Samples

BASE, HEAD = "base", "head"


class Measuring(Protocol):
    """The part of a session that rounds use."""

    def measure(self, name: str, within_s: float) -> Measurement: ...


@dataclass(frozen=True)
class Compared:
    """A row that both trees have.

    Args:
        measure: name of the measure that the row belongs to.
    """

    measure: str
    name: str
    unit: str
    samples: Samples


@dataclass
class Rounds:
    """Measurements of both trees.

    Args:
        sessions: sessions by `BASE` and `HEAD`.
        head_first: whether the first round measures HEAD first; the order alternates from round to round.
        say: prints one line of progress.

    Attributes:
        pairs: by measure, one measurement of each tree per round.
    """

    sessions: Mapping[str, Measuring]
    say: Callable[[str], None]
    head_first: bool = False
    pairs: dict[str, list[dict[str, Measurement]]] = field(default_factory=dict)

    def measure(self, name: str, within_s: float) -> None:
        """Measure both trees once.

        Raises:
            SessionFailed: the session itself failed, not only the measure.
        """
        pairs = self.pairs.setdefault(name, [])
        swapped = (len(pairs) % 2 == 1) != self.head_first
        order = (HEAD, BASE) if swapped else (BASE, HEAD)
        found = {tree: self.sessions[tree].measure(name, within_s) for tree in order}
        pairs.append(found)
        took = ", ".join(f"{tree} {found[tree].seconds:.1f} s" for tree in (BASE, HEAD))
        self.say(f"  {name}: {took}")

    def next_s(self, name: str) -> float:
        """Estimated seconds of another round of a measure, from the last one."""
        return sum(one.again_s for one in self.pairs[name][-1].values())

    def once_s(self, name: str) -> float:
        """Seconds of one-time work of a measure, which new sessions would have to repeat."""
        return sum(one.once_s for one in self.pairs[name][0].values())

    def compared(self) -> list[Compared]:
        """The rows that both trees have, with the figures of the rounds in which both were measured."""
        return [row for name in self.pairs for row in self._compared(name)]

    def _compared(self, measure: str) -> Iterable[Compared]:
        rounds = [{tree: _by_name(one) for tree, one in pair.items()} for pair in self.pairs[measure]]
        names = dict.fromkeys(name for pair in rounds for name in pair[BASE] if name in pair[HEAD])
        for name in names:
            both = [
                (pair[BASE][name], pair[HEAD][name]) for pair in rounds if name in pair[BASE] and name in pair[HEAD]
            ]
            base, head = zip(*((one.value, other.value) for one, other in both), strict=True)
            yield Compared(measure, name, both[0][1].unit, Samples(base, head, both[0][1].higher_is_better))

    def only_in(self, tree: str) -> list[str]:
        """Rows that the other tree never had, although their measure succeeded in both trees at least once."""
        other = BASE if tree == HEAD else HEAD
        found: dict[str, None] = {}
        for pairs in self.pairs.values():
            if not all(any(not pair[which].error for pair in pairs) for which in (BASE, HEAD)):
                continue
            theirs = {name for pair in pairs for name in _by_name(pair[other])}
            found |= dict.fromkeys(name for pair in pairs for name in _by_name(pair[tree]) if name not in theirs)
        return list(found)

    def errors(self) -> dict[str, str]:
        """The last error of each failed measurement, by measure and tree."""
        return {
            f"{name} ({tree})": f"failed in {len(failed)} of {len(pairs)} rounds: {failed[-1]}"
            for name, pairs in self.pairs.items()
            for tree in (BASE, HEAD)
            if (failed := [pair[tree].error for pair in pairs if pair[tree].error])
        }


def _by_name(measurement: Measurement) -> dict[str, Figure]:
    return {figure.name: figure for figure in measurement.figures}
