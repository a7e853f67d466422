"""A comparison from the first round to the verdicts, on sessions that are real processes with scripted figures."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.compare.budget import Budget
from bench.compare.comparison import (
    BETTER,
    NOT_CONFIRMED,
    NOT_JUDGED,
    SAME,
    UNCONFIRMED,
    WORSE,
    Comparison,
    Outcome,
)
from bench.compare.protocol import PROTOCOL
from bench.compare.trees import SESSION, Refused, Tree

# Speaks the protocol with the next figures of `script.json`; its nth start uses the nth list of each row.
PROGRAM = """
import json, os, sys
from pathlib import Path

script = json.loads(Path("script.json").read_text())
started = Path("started")
start = len(started.read_text()) if started.exists() else 0
started.write_text((start + 1) * ".")
measures = script["measures"]
print(json.dumps({"protocol": script["protocol"], "measures": list(measures), "left_out": {"scale": "it has no row"},
                  "sizes": script["sizes"]}), flush=True)
for line in sys.stdin:
    name = line.strip()
    with open("../order", "a") as order:
        order.write(f"{name} {Path.cwd().name}\\n")
    given = measures[name]
    if given.get("dies"):
        sys.exit("This session has died.")
    seconds = given.get("seconds", 0)
    rows = {row: lists[start].pop(0) for row, lists in given["rows"].items()}
    print(json.dumps({"measure": name, "seconds": seconds.pop(0) if isinstance(seconds, list) else seconds, "once_s": given.get("once_s", 0),
                      "error": given.get("error", ""), "figures": [] if given.get("error") else [
                          {"name": row, "value": value, "unit": "ms", "higher_is_better": False}
                          for row, value in rows.items()]}), flush=True)
"""

Measures = dict[str, dict[str, Any]]


class Trees:
    """Two folders, each with a scripted session."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def tree(self, name: str, measures: Measures, sizes: dict[str, int], protocol: int) -> Tree:
        tree = Tree(name, 40 * "0", "Do something", self.folder / name)
        (tree.folder / SESSION).parent.mkdir(parents=True)
        for package in ("bench", "bench/compare"):
            (tree.folder / package / "__init__.py").touch()
        (tree.folder / SESSION).write_text(PROGRAM)
        script = {"measures": measures, "sizes": sizes, "protocol": protocol}
        (tree.folder / "script.json").write_text(json.dumps(script))
        tree.python.parent.mkdir(parents=True)
        tree.python.symlink_to(sys.executable)
        return tree

    def order(self) -> list[str]:
        """The measurements in order, each with the tree it was made on."""
        return (self.folder / "order").read_text().splitlines()


Compare = Callable[..., Outcome]


@pytest.fixture
def scripted(tmp_path: Path) -> Trees:
    return Trees(tmp_path)


@pytest.fixture
def compare(scripted: Trees) -> Compare:
    def run(
        base: Measures,
        head: Measures,
        *,
        seconds: float = 600,
        sizes: tuple[dict[str, int], dict[str, int]] = ({}, {}),
        protocol: int = PROTOCOL,
        only: tuple[str, ...] = (),
    ) -> Outcome:
        trees = {
            "base": scripted.tree("base", base, sizes[0], PROTOCOL),
            "head": scripted.tree("head", head, sizes[1], protocol),
        }
        return Comparison(trees, "quick", Budget(seconds), scripted.folder, lambda _: None).run(only)

    return run


def rows(*starts: list[float], **more: Any) -> dict[str, Any]:
    """A measure with one row and a list of figures for each start of its session."""
    return {"rows": {"row": list(starts)}, **more}


FAST, SLOW, MIXED = [10.0, 11, 12, 11, 10], [20.0, 21, 22, 21, 20], [20.0, 11, 22, 21, 20]


def verdict(outcome: Outcome) -> str:
    (one,) = outcome.verdicts
    return one.verdict


@pytest.mark.parametrize(
    ("base", "head", "expected", "good"),
    [
        ([FAST], [FAST], SAME, True),
        ([FAST], [MIXED], SAME, True),  # the ranges overlap
        ([SLOW], [FAST], BETTER, True),
        ([FAST, FAST], [SLOW, SLOW], WORSE, False),
        ([FAST, FAST], [SLOW, FAST], NOT_CONFIRMED, True),
        ([FAST, FAST], [SLOW, MIXED], NOT_CONFIRMED, True),
    ],
)
def test_a_row_is_worse_if_two_sets_of_rounds_say_so(
    compare: Compare, base: list[list[float]], head: list[list[float]], expected: str, good: bool
) -> None:
    outcome = compare({"poll": rows(*base)}, {"poll": rows(*head)})

    assert (verdict(outcome), outcome.good) == (expected, good)
    assert outcome.left_out == {"scale": "it has no row"}


def test_trees_alternate_and_only_what_looks_worse_is_measured_again(compare: Compare, scripted: Trees) -> None:
    outcome = compare(
        {"poll": rows(FAST), "submit": rows(FAST, FAST)},
        {"poll": rows(FAST), "submit": rows(SLOW, SLOW)},
    )

    there, back = (
        ["poll base", "poll head", "submit base", "submit head"],
        ["poll head", "poll base", "submit head", "submit base"],
    )
    assert scripted.order()[:20] == [*there, *back, *there, *back, *there]
    again, swapped = ["submit head", "submit base"], ["submit base", "submit head"]
    assert scripted.order()[20:] == [*again, *swapped, *again, *swapped, *again]
    assert {(one.row.measure, one.verdict) for one in outcome.verdicts} == {("poll", SAME), ("submit", WORSE)}


def test_what_does_not_fit_into_the_time_is_left_out_and_named(compare: Compare, scripted: Trees) -> None:
    measures = {
        "poll": rows(FAST, seconds=1),
        "many": rows(FAST, seconds=100),
        "growth": rows(FAST, seconds=101, once_s=100),
    }

    outcome = compare(measures, measures, seconds=100)

    assert outcome.left_out["many"] == "1 round, because another one takes 200 s"
    assert {one.row.measure: one.verdict for one in outcome.verdicts} == {
        "poll": SAME,
        "growth": SAME,  # its preparation is not repeated
        "many": NOT_JUDGED,
    }
    assert scripted.order().count("many head") == 1


def test_rounds_that_take_longer_than_expected_are_fewer_and_named(compare: Compare) -> None:
    measures = {"poll": rows(FAST, seconds=[1, 1, 1000])}

    outcome = compare(measures, measures)

    assert outcome.left_out["poll"] == "3 rounds, because the time was up"
    assert len(outcome.verdicts[0].row.samples.head) == 3


def test_what_looks_worse_but_cannot_be_measured_again_is_not_passed_over(compare: Compare) -> None:
    slow = {"poll": rows(SLOW, seconds=1, once_s=1000)}

    outcome = compare({"poll": rows(FAST)}, slow)

    assert (verdict(outcome), outcome.good) == (UNCONFIRMED, False)


def test_a_measure_that_fails_is_a_result(compare: Compare) -> None:
    outcome = compare({"poll": rows(FAST)}, {"poll": rows(FAST, error="Failed: status 500")})

    assert outcome.failed == {"poll (head)": "failed in 5 of 5 rounds: Failed: status 500"}
    assert (outcome.verdicts, outcome.only_in_base, outcome.good) == ([], [], False)


def test_a_session_that_dies_ends_the_measuring_and_leaves_what_was_found(compare: Compare) -> None:
    outcome = compare({"poll": rows(FAST), "submit": rows(FAST)}, {"poll": rows(FAST), "submit": rows(FAST, dies=True)})

    assert "session of head exited" in outcome.failed["session"]
    assert "This session has died." in outcome.failed["session"]
    assert (verdict(outcome), outcome.good) == (NOT_JUDGED, False)


def test_a_session_of_another_protocol_is_not_driven(compare: Compare) -> None:
    outcome = compare({"poll": rows(FAST)}, {"poll": rows(FAST)}, protocol=PROTOCOL + 1)

    assert f"uses protocol {PROTOCOL + 1}" in outcome.failed["session"]
    assert outcome.verdicts == []


def test_rows_and_measures_of_one_tree_are_listed_and_not_compared(compare: Compare) -> None:
    base = {"poll": {"rows": {"row": [FAST[:]], "old": [FAST[:]]}}, "gone": rows(FAST)}
    head = {"poll": {"rows": {"row": [FAST[:]], "new": [SLOW[:]]}}, "whole": rows(FAST)}

    outcome = compare(base, head, sizes=({"trips": 25, "old": 1}, {"trips": 100}))

    assert outcome.only_in_base == ["measure gone", "old"]
    assert outcome.only_in_head == ["measure whole", "new"]
    assert (verdict(outcome), outcome.good) == (SAME, True)
    assert outcome.notes == ["The trees use different values of trips: 25 and 100."]


def test_only_what_is_asked_for_is_measured(compare: Compare, scripted: Trees) -> None:
    measures = {"poll": rows(FAST), "submit": rows(FAST)}

    outcome = compare(measures, measures, only=("submit",))

    assert {line.split()[0] for line in scripted.order()} == {"submit"}
    assert outcome.left_out["poll"] == "not selected"


def test_a_measure_that_does_not_exist_is_refused(compare: Compare) -> None:
    with pytest.raises(Refused, match=r"Unknown measures: pol. Available: poll."):
        compare({"poll": rows(FAST)}, {"poll": rows(FAST)}, only=("pol",))
