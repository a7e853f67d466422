"""Runs a comparison, from the first round to the verdicts, within its time budget."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.compare.budget import FIRST_ROUND_SHARE, RESERVE_SHARE, Budget, select_affordable, select_in_order
from bench.compare.client import Session, SessionError, open_sessions
from bench.compare.rounds import BASE, HEAD, Rounds, RowComparison
from bench.compare.trees import ComparisonError, Tree
from bench.compare.verdict import Samples

ROUNDS = 5
# With fewer rounds, the ranges of the figures are too often disjoint by coincidence.
MIN_ROUNDS = 3
# Time that is reserved for stopping the servers and deleting the worktrees.
SHUTDOWN_TIME_S = 20.0
# A measurement that takes longer than expected may exceed the remaining time by this number of seconds.
_GRACE_S = 15.0

WORSE = "worse"
BETTER = "better"
SAME = ""
NOT_REPRODUCED = "looked worse, not confirmed"
NOT_REMEASURED = "looks worse, no time to measure again"
NOT_JUDGED = "too few rounds"


@dataclass(frozen=True)
class RowVerdict:
    """The result of one row.

    Args:
        label: one of the constants from `WORSE` to `NOT_JUDGED`.
        repetition: figures of the second measurement, which is made only for rows that look worse.
    """

    row: RowComparison
    label: str
    repetition: Samples | None = None


@dataclass
class Outcome:
    """The result of a comparison.

    Attributes:
        omissions: for each measure with fewer than five rounds, the reason.
        failures: for each measurement without figures, the reason.
        only_in_base: rows and measures that HEAD does not have.
        only_in_head: rows and measures that BASE does not have.
        notes: circumstances that affect the interpretation of the figures.
    """

    verdicts: list[RowVerdict] = field(default_factory=list)
    omissions: dict[str, str] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    only_in_base: list[str] = field(default_factory=list)
    only_in_head: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def is_success(self) -> bool:
        """Whether no row is worse or looks worse, and no measurement failed."""
        return not self.failures and not any(verdict.label in {WORSE, NOT_REMEASURED} for verdict in self.verdicts)


class Comparison:
    """Measures two trees alternately.

    Args:
        size: name of the sizes of the measurements.
        budget: time budget of the entire comparison.
        logs: folder for the logs of the sessions.
        print_line: prints one line of progress.
    """

    def __init__(
        self, trees: Mapping[str, Tree], size: str, budget: Budget, logs: Path, print_line: Callable[[str], None]
    ) -> None:
        self._trees = trees
        self._size = size
        self._budget = budget
        self._logs = logs
        self._print_line = print_line
        self._startup_s = 0.0

    def run(self, only: Sequence[str] = ()) -> Outcome:
        """Measure as much as the time allows. If a session fails, stop measuring and return the results so far.

        Args:
            only: names of the measures to run; empty for all.

        Raises:
            ComparisonError: a name is not a measure of both trees.
        """
        outcome = Outcome()
        rounds = Rounds({}, self._print_line)
        repetition: Rounds | None = None
        try:
            with self._open_sessions() as sessions:
                rounds = Rounds(sessions, self._print_line)
                self._measure(rounds, _common_measures(sessions, outcome, only), outcome)
            if names := self._measures_to_repeat(rounds):
                self._print_line(f"Measuring again with new processes: {', '.join(names)}")
                with self._open_sessions() as sessions:
                    repetition = Rounds(sessions, self._print_line, head_first=True)
                    for _ in range(ROUNDS):
                        self._run_round(repetition, names)
        except SessionError as error:
            outcome.failures["session"] = str(error)
        repeated_rows = [] if repetition is None else repetition.compare_rows()
        repeated_samples = {row.name: row.samples for row in repeated_rows}
        outcome.verdicts = [_judge_row(row, repeated_samples.get(row.name)) for row in rounds.compare_rows()]
        outcome.only_in_base += rounds.rows_only_in(BASE)
        outcome.only_in_head += rounds.rows_only_in(HEAD)
        outcome.failures |= rounds.errors()
        if repetition is not None:
            outcome.failures |= repetition.errors()
        return outcome

    @contextlib.contextmanager
    def _open_sessions(self) -> Iterator[dict[str, Session]]:
        began_at = time.monotonic()
        with open_sessions(self._trees, self._size, self._logs) as sessions:
            self._startup_s = time.monotonic() - began_at
            remaining_s = self._budget.remaining_s
            self._print_line(
                f"Started the servers of both trees in {self._startup_s:.0f} s; {remaining_s:.0f} s remain."
            )
            yield sessions

    @property
    def _remaining_s(self) -> float:
        """Seconds that measurements may still use."""
        return max(0.0, self._budget.remaining_s - SHUTDOWN_TIME_S)

    def _measure(self, rounds: Rounds, names: list[str], outcome: Outcome) -> None:
        """Run the first round of all measures, then further rounds of the measures that fit into the time."""
        self._print_line(f"Round 1 of {ROUNDS}")
        min_remaining_s = self._remaining_s * (1 - FIRST_ROUND_SHARE)
        for name in names:
            if self._remaining_s < min_remaining_s:
                outcome.omissions[name] = "not measured, because the first round took too long"
            else:
                rounds.measure(name, self._remaining_s + _GRACE_S)
        remaining = list(rounds.pairs)
        while affordable := self._select_affordable(rounds, remaining):
            for number in range(2, ROUNDS + 1):
                self._print_line(f"Round {number} of {ROUNDS}")
                self._run_round(rounds, affordable)
            remaining = [name for name in remaining if name not in affordable]  # other measures may now fit
        for name, pairs in rounds.pairs.items():
            if name in remaining:
                outcome.omissions[name] = f"1 round, because another round takes {rounds.next_round_s(name):.0f} s"
            elif len(pairs) < ROUNDS:
                outcome.omissions[name] = f"{len(pairs)} rounds, because no time remained"

    def _select_affordable(self, rounds: Rounds, names: list[str]) -> list[str]:
        costs = {name: rounds.next_round_s(name) for name in names}
        return select_affordable(costs, ROUNDS - 1, self._remaining_s * (1 - RESERVE_SHARE))

    def _run_round(self, rounds: Rounds, names: list[str]) -> None:
        for name in names:
            if name not in rounds.pairs or rounds.next_round_s(name) <= self._remaining_s:
                rounds.measure(name, self._remaining_s + _GRACE_S)

    def _measures_to_repeat(self, rounds: Rounds) -> list[str]:
        """Return the measures with a row that looks worse, as far as they fit into the time, the worst first."""
        factors: dict[str, float] = {}
        for row in rounds.compare_rows():
            if _has_enough_rounds(row.samples) and row.samples.is_worse:
                factors[row.measure] = max(factors.get(row.measure, 0), row.samples.worsening_factor)
        costs = {name: rounds.preparation_s(name) + ROUNDS * rounds.next_round_s(name) for name in factors}
        order = sorted(factors, key=lambda name: factors[name], reverse=True)
        return select_in_order(costs, order, self._remaining_s - self._startup_s)


def _common_measures(sessions: Mapping[str, Session], outcome: Outcome, only: Sequence[str]) -> list[str]:
    """Return the measures to run, which both sessions offer; add all other measures and unequal sizes to `outcome`."""
    base, head = (sessions[name].greeting for name in (BASE, HEAD))
    outcome.omissions |= head.left_out
    outcome.only_in_base += [f"measure {name}" for name in base.measures if name not in head.measures]
    outcome.only_in_head += [f"measure {name}" for name in head.measures if name not in base.measures]
    for name, value in head.sizes.items():
        if name in base.sizes and base.sizes[name] != value:
            outcome.notes.append(f"The trees use different values of {name}: {base.sizes[name]} and {value}.")
    common = [name for name in head.measures if name in base.measures]
    if unknown := [name for name in only if name not in common]:
        raise ComparisonError(f"Unknown measures: {', '.join(unknown)}. Available: {', '.join(common)}.")
    outcome.omissions |= dict.fromkeys((name for name in common if only and name not in only), "not selected")
    return [name for name in common if not only or name in only]


def _has_enough_rounds(samples: Samples) -> bool:
    return len(samples.base) >= MIN_ROUNDS


def _judge_row(row: RowComparison, repetition: Samples | None) -> RowVerdict:
    """Judge a row by its rounds and their repetition; a row is worse only if it is worse in both sets of rounds."""
    if not _has_enough_rounds(row.samples):
        return RowVerdict(row, NOT_JUDGED)
    if row.samples.is_better:
        return RowVerdict(row, BETTER)
    if not row.samples.is_worse:
        return RowVerdict(row, SAME)
    if repetition is None or not _has_enough_rounds(repetition):
        return RowVerdict(row, NOT_REMEASURED)
    return RowVerdict(row, WORSE if repetition.is_worse else NOT_REPRODUCED, repetition)
