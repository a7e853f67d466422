"""Rounds of measurements: each measure runs in one worktree and then in the other one, and the order alternates."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from bench.compare.protocol import Figure, Measurement
from bench.compare.verdict import Samples

BASE, HEAD = "base", "head"


class MeasureRunner(Protocol):
    """The part of a session that rounds use."""

    def measure(self, name: str, timeout_s: float) -> Measurement: ...


@dataclass(frozen=True)
class RowComparison:
    """The figures of a benchmark row that both trees have.

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
        print_line: prints one line of progress.

    Attributes:
        pairs: for each measure and round, one measurement of each tree.
    """

    sessions: Mapping[str, MeasureRunner]
    print_line: Callable[[str], None]
    head_first: bool = False
    pairs: dict[str, list[dict[str, Measurement]]] = field(default_factory=dict)

    def measure(self, name: str, timeout_s: float) -> None:
        """Measure both trees once.

        Raises:
            SessionError: the session itself failed, not only the measure.
        """
        pairs = self.pairs.setdefault(name, [])
        is_head_first = (len(pairs) % 2 == 1) != self.head_first
        order = (HEAD, BASE) if is_head_first else (BASE, HEAD)
        measurements = {tree: self.sessions[tree].measure(name, timeout_s) for tree in order}
        pairs.append(measurements)
        durations = ", ".join(f"{tree} {measurements[tree].seconds:.1f} s" for tree in (BASE, HEAD))
        self.print_line(f"  {name}: {durations}")

    def next_round_s(self, name: str) -> float:
        """Estimate the seconds of the next round of a measure from its last one."""
        return sum(measurement.repetition_s for measurement in self.pairs[name][-1].values())

    def preparation_s(self, name: str) -> float:
        """Return the seconds of a measure's preparations, which new sessions must repeat."""
        return sum(measurement.once_s for measurement in self.pairs[name][0].values())

    def compare_rows(self) -> list[RowComparison]:
        """Return the rows of both trees, with the figures of the rounds in which both trees measured the row."""
        return [row for name in self.pairs for row in self._compare_measure(name)]

    def _compare_measure(self, measure: str) -> Iterable[RowComparison]:
        rounds = [
            {tree: _figures_by_name(measurement) for tree, measurement in pair.items()} for pair in self.pairs[measure]
        ]
        names = dict.fromkeys(name for pair in rounds for name in pair[BASE] if name in pair[HEAD])
        for name in names:
            complete_pairs = [pair for pair in rounds if name in pair[BASE] and name in pair[HEAD]]
            base, head = (tuple(pair[tree][name].value for pair in complete_pairs) for tree in (BASE, HEAD))
            figure = complete_pairs[0][HEAD][name]
            yield RowComparison(measure, name, figure.unit, Samples(base, head, figure.higher_is_better))

    def rows_only_in(self, tree: str) -> list[str]:
        """Return rows that only this tree has, of measures that succeeded at least once in both trees."""
        other_tree = BASE if tree == HEAD else HEAD
        names: dict[str, None] = {}
        for pairs in self.pairs.values():
            if not all(any(not pair[side].error for pair in pairs) for side in (BASE, HEAD)):
                continue
            tree_names, other_names = (
                [name for pair in pairs for name in _figures_by_name(pair[side])] for side in (tree, other_tree)
            )
            names |= dict.fromkeys(name for name in tree_names if name not in other_names)
        return list(names)

    def errors(self) -> dict[str, str]:
        """Return the last error of each measure that failed, by measure and tree."""
        return {
            f"{name} ({tree})": f"failed in {len(errors)} of {len(pairs)} rounds: {errors[-1]}"
            for name, pairs in self.pairs.items()
            for tree in (BASE, HEAD)
            if (errors := [pair[tree].error for pair in pairs if pair[tree].error])
        }


def _figures_by_name(measurement: Measurement) -> dict[str, Figure]:
    return {figure.name: figure for figure in measurement.figures}
