"""Runs a comparison, from the first round to the verdicts, within its time budget."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.compare.budget import FIRST_ROUND, RESERVE, Budget, affordable, first_that_fit
from bench.compare.client import Session, SessionFailed, sessions
from bench.compare.rounds import BASE, HEAD, Compared, Rounds
from bench.compare.trees import Refused, Tree
from bench.compare.verdict import Samples

ROUNDS = 5
# With fewer rounds, ranges are too often disjoint by chance.
LEAST_ROUNDS = 3
# Reserved for stopping the servers and deleting the trees.
CLOSING_S = 20.0
# A measurement that takes longer than expected may exceed the remaining time by this much.
_GRACE_S = 15.0

WORSE = "worse"
BETTER = "better"
SAME = ""
NOT_CONFIRMED = "looked worse, not confirmed"
UNCONFIRMED = "looks worse, no time to measure again"
NOT_JUDGED = "too few rounds"


@dataclass(frozen=True)
class Verdict:
    """The reported result of one row.

    Args:
        again: figures of the second measurement, if the row looked worse in the first one.
    """

    row: Compared
    verdict: str
    again: Samples | None = None


@dataclass
class Outcome:
    """The result of a comparison.

    Attributes:
        left_out: measures with fewer than five rounds, with the reason.
        failed: measurements without figures, with the reason.
        only_in_base, only_in_head: rows and measures that the other tree does not have.
    """

    verdicts: list[Verdict] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    only_in_base: list[str] = field(default_factory=list)
    only_in_head: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether no row is worse or looks worse, and no measurement failed."""
        return not self.failed and not any(one.verdict in {WORSE, UNCONFIRMED} for one in self.verdicts)


class Comparison:
    """Measures two trees alternately.

    Args:
        size: name of the sizes that the sessions measure with.
        budget: time budget of the entire comparison.
        logs: folder for the logs of the sessions.
        say: prints one line of progress.
    """

    def __init__(
        self, trees: Mapping[str, Tree], size: str, budget: Budget, logs: Path, say: Callable[[str], None]
    ) -> None:
        self._trees = trees
        self._size = size
        self._budget = budget
        self._logs = logs
        self._say = say
        self._start_s = 0.0

    def run(self, only: Sequence[str] = ()) -> Outcome:
        """Measure as much as the time allows. If a session fails, measuring ends and the results so far are returned.

        Args:
            only: names of the measures to run; empty for all.

        Raises:
            Refused: a name is not a measure of both trees.
        """
        outcome = Outcome()
        rounds = again = Rounds({}, self._say)
        try:
            with self._sessions() as opened:
                rounds = again = Rounds(opened, self._say)
                self._measure(rounds, _common(opened, outcome, only), outcome)
            if chosen := self._to_measure_again(rounds):
                self._say(f"Measuring again with new processes: {', '.join(chosen)}")
                with self._sessions() as opened:
                    again = Rounds(opened, self._say, head_first=True)
                    for _ in range(ROUNDS):
                        self._one_round(again, chosen)
        except SessionFailed as failure:
            outcome.failed["session"] = str(failure)
        repeated = {} if again is rounds else {row.name: row.samples for row in again.compared()}
        outcome.verdicts = [_verdict(row, repeated.get(row.name)) for row in rounds.compared()]
        outcome.only_in_base += rounds.only_in(BASE)
        outcome.only_in_head += rounds.only_in(HEAD)
        outcome.failed |= rounds.errors() | ({} if again is rounds else again.errors())
        return outcome

    @contextlib.contextmanager
    def _sessions(self) -> Iterator[dict[str, Session]]:
        began_at = time.monotonic()
        with sessions(self._trees, self._size, self._logs) as opened:
            self._start_s = time.monotonic() - began_at
            self._say(f"Started the servers of both trees in {self._start_s:.0f} s; {self._budget.left:.0f} s remain.")
            yield opened

    @property
    def _left(self) -> float:
        return max(0.0, self._budget.left - CLOSING_S)

    def _measure(self, rounds: Rounds, names: list[str], outcome: Outcome) -> None:
        """Run the first round of all measures, then further rounds of those that fit into the time."""
        self._say(f"Round 1 of {ROUNDS}")
        stop_at = self._left * (1 - FIRST_ROUND)
        for name in names:
            if self._left < stop_at:
                outcome.left_out[name] = "not measured, because the first round took too long"
            else:
                rounds.measure(name, self._left + _GRACE_S)
        remaining = list(rounds.pairs)
        while kept := self._affordable(rounds, remaining):
            for number in range(2, ROUNDS + 1):
                self._say(f"Round {number} of {ROUNDS}")
                self._one_round(rounds, kept)
            remaining = [name for name in remaining if name not in kept]  # estimates may have been too high
        for name, pairs in rounds.pairs.items():
            if name in remaining:
                outcome.left_out[name] = f"1 round, because another one takes {rounds.next_s(name):.0f} s"
            elif len(pairs) < ROUNDS:
                outcome.left_out[name] = f"{len(pairs)} rounds, because the time was up"

    def _affordable(self, rounds: Rounds, names: list[str]) -> list[str]:
        costs = {name: rounds.next_s(name) for name in names}
        return affordable(costs, ROUNDS - 1, self._left * (1 - RESERVE))

    def _one_round(self, rounds: Rounds, names: list[str]) -> None:
        for name in names:
            if name not in rounds.pairs or rounds.next_s(name) <= self._left:
                rounds.measure(name, self._left + _GRACE_S)

    def _to_measure_again(self, rounds: Rounds) -> list[str]:
        """The measures with rows that look worse, the worst first, as far as they fit into the time."""
        worst: dict[str, float] = {}
        for row in rounds.compared():
            if _judged(row.samples) and row.samples.worse:
                worst[row.measure] = max(worst.get(row.measure, 0), row.samples.times_worse)
        costs = {name: rounds.once_s(name) + ROUNDS * rounds.next_s(name) for name in worst}
        order = sorted(worst, key=lambda name: worst[name], reverse=True)
        return first_that_fit(costs, order, self._left - self._start_s)


def _common(opened: Mapping[str, Session], outcome: Outcome, only: Sequence[str]) -> list[str]:
    """The measures that both sessions offer; records the others and differences between the sessions in `outcome`."""
    base, head = (opened[name].greeting for name in (BASE, HEAD))
    outcome.left_out |= head.left_out
    outcome.only_in_base += [f"measure {name}" for name in base.measures if name not in head.measures]
    outcome.only_in_head += [f"measure {name}" for name in head.measures if name not in base.measures]
    for name, value in head.sizes.items():
        if name in base.sizes and base.sizes[name] != value:
            outcome.notes.append(f"The trees use different values of {name}: {base.sizes[name]} and {value}.")
    common = [name for name in head.measures if name in base.measures]
    if unknown := [name for name in only if name not in common]:
        raise Refused(f"Unknown measures: {', '.join(unknown)}. Available: {', '.join(common)}.")
    outcome.left_out |= dict.fromkeys((name for name in common if only and name not in only), "not selected")
    return [name for name in common if not only or name in only]


def _judged(samples: Samples) -> bool:
    return len(samples.base) >= LEAST_ROUNDS


def _verdict(row: Compared, again: Samples | None) -> Verdict:
    """The verdict from two sets of rounds: a row is worse only if both sets agree."""
    if not _judged(row.samples):
        return Verdict(row, NOT_JUDGED)
    if row.samples.better:
        return Verdict(row, BETTER)
    if not row.samples.worse:
        return Verdict(row, SAME)
    if again is None or not _judged(again):
        return Verdict(row, UNCONFIRMED)
    return Verdict(row, WORSE if again.worse else NOT_CONFIRMED, again)
