"""Runs rounds of measurements: each measure runs in one worktree, then in the other; the order alternates."""

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
    """Measures both trees and stores the measurements.

    Args:
        sessions: sessions by `BASE` and `HEAD`.
        head_first: whether the first round measures HEAD first; the order alternates from round to round.
        print_line: prints one line of progress.

    Attributes:
        pairs: for each measure, one pair of measurements per round, by `BASE` and `HEAD`.
    """

    sessions: Mapping[str, MeasureRunner]
    print_line: Callable[[str], None]
    head_first: bool = False
    pairs: dict[str, list[dict[str, Measurement]]] = field(default_factory=dict)

    def measure(self, name: str, timeout_s: float) -> None:
        """Measure both trees once.

        Raises:
            SessionError: a session failed, not only its measure.
        """
        pairs = self.pairs.setdefault(name, [])
        is_swapped_round = len(pairs) % 2 == 1
        is_head_first = is_swapped_round != self.head_first
        order = (HEAD, BASE) if is_head_first else (BASE, HEAD)
        measurements = {tree: self.sessions[tree].measure(name, timeout_s) for tree in order}
        pairs.append(measurements)
        durations = ", ".join(f"{tree} {measurements[tree].seconds:.1f} s" for tree in (BASE, HEAD))
        self.print_line(f"  {name}: {durations}")

    def next_round_s(self, name: str) -> float:
        """Estimate the seconds of the next round of a measure from its last round."""
        return sum(measurement.repetition_s for measurement in self.pairs[name][-1].values())

    def preparation_s(self, name: str) -> float:
        """Return the seconds of the preparations for a measure, which new sessions must repeat."""
        return sum(measurement.once_s for measurement in self.pairs[name][0].values())

    def compare_rows(self) -> list[RowComparison]:
        """Return the rows that both trees have, with the figures of the rounds in which both trees measured the row."""
        return [row for name in self.pairs for row in self._compare_measure(name)]

    def _compare_measure(self, measure: str) -> Iterable[RowComparison]:
        figure_pairs: dict[str, list[tuple[Figure, Figure]]] = {}
        for pair in self.pairs[measure]:
            base_figures, head_figures = _figures_by_name(pair[BASE]), _figures_by_name(pair[HEAD])
            for name in base_figures:
                if name in head_figures:
                    figure_pairs.setdefault(name, []).append((base_figures[name], head_figures[name]))
        for name, figures in figure_pairs.items():
            base_values = tuple(base.value for base, _ in figures)
            head_values = tuple(head.value for _, head in figures)
            _, first_head = figures[0]
            samples = Samples(base_values, head_values, first_head.higher_is_better)
            yield RowComparison(measure, name, first_head.unit, samples)

    def rows_only_in(self, tree: str) -> list[str]:
        """Return the rows that only this tree has, of measures that succeeded at least once in each tree."""
        other_tree = BASE if tree == HEAD else HEAD
        names: dict[str, None] = {}  # a set that keeps its order
        for measure in self.pairs:
            if self._has_succeeded(measure, tree) and self._has_succeeded(measure, other_tree):
                other_names = self._row_names(measure, other_tree)
                names |= {name: None for name in self._row_names(measure, tree) if name not in other_names}
        return list(names)

    def _has_succeeded(self, measure: str, tree: str) -> bool:
        """Whether the measure succeeded in this tree in at least one round."""
        return any(not pair[tree].error for pair in self.pairs[measure])

    def _row_names(self, measure: str, tree: str) -> list[str]:
        """Return the names of the rows that the measure had in this tree in any round."""
        return [figure.name for pair in self.pairs[measure] for figure in pair[tree].figures]

    def errors(self) -> dict[str, str]:
        """Return the last error of each measure that failed, by measure and tree."""
        last_errors = {}
        for name, pairs in self.pairs.items():
            for tree in (BASE, HEAD):
                errors = [pair[tree].error for pair in pairs if pair[tree].error]
                if errors:
                    last_errors[f"{name} ({tree})"] = f"failed in {len(errors)} of {len(pairs)} rounds: {errors[-1]}"
        return last_errors


def _figures_by_name(measurement: Measurement) -> dict[str, Figure]:
    return {figure.name: figure for figure in measurement.figures}
