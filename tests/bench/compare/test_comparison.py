"""Comparisons from the first round to the verdicts; the sessions are processes with scripted figures."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.compare.budget import Budget
from bench.compare.comparison import (
    BETTER,
    NOT_JUDGED,
    NOT_REMEASURED,
    NOT_REPRODUCED,
    SAME,
    WORSE,
    Comparison,
    Outcome,
)
from bench.compare.protocol import PROTOCOL
from bench.compare.trees import SESSION, ComparisonError, Tree

# A session that sends the figures of `script.json`: its nth process sends the nth list of a row, one figure per round.
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
    measure = measures[name]
    if measure.get("exits"):
        sys.exit("This session has exited.")
    seconds = measure.get("seconds", 0)
    rows = {row: lists[start].pop(0) for row, lists in measure["rows"].items()}
    print(json.dumps({"measure": name, "seconds": seconds.pop(0) if isinstance(seconds, list) else seconds, "once_s": measure.get("once_s", 0),
                      "error": measure.get("error", ""), "figures": [] if measure.get("error") else [
                          {"name": row, "value": value, "unit": "ms", "higher_is_better": False}
                          for row, value in rows.items()]}), flush=True)
"""

Measures = dict[str, dict[str, Any]]


class ScriptedTrees:
    """Folders with scripted sessions, as replacements for worktrees."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def create_tree(self, name: str, measures: Measures, sizes: dict[str, int], protocol: int) -> Tree:
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

    def read_order(self) -> list[str]:
        """Return the measures and the names of their trees, in the order of their execution."""
        return (self.folder / "order").read_text().splitlines()


Compare = Callable[..., Outcome]


@pytest.fixture
def trees(tmp_path: Path) -> ScriptedTrees:
    return ScriptedTrees(tmp_path)


@pytest.fixture
def compare(trees: ScriptedTrees) -> Compare:
    def run_comparison(
        base: Measures,
        head: Measures,
        *,
        seconds: float = 600,
        base_sizes: dict[str, int] | None = None,
        head_sizes: dict[str, int] | None = None,
        protocol: int = PROTOCOL,
        selected_measures: tuple[str, ...] = (),
    ) -> Outcome:
        tree_by_name = {
            "base": trees.create_tree("base", base, base_sizes or {}, PROTOCOL),
            "head": trees.create_tree("head", head, head_sizes or {}, protocol),
        }
        return Comparison(tree_by_name, "quick", Budget(seconds), trees.folder, lambda _: None).run(selected_measures)

    return run_comparison


def build_measure(*figures: list[float], **options: Any) -> dict[str, Any]:
    """Build a measure with one row, and with a list of figures for each process of its session."""
    return {"rows": {"row": list(figures)}, **options}


FAST, SLOW, MIXED = [10.0, 11, 12, 11, 10], [20.0, 21, 22, 21, 20], [20.0, 11, 22, 21, 20]


def read_only_verdict(outcome: Outcome) -> str:
    (verdict,) = outcome.verdicts
    return verdict.label


@pytest.mark.parametrize(
    ("base", "head", "expected_verdict", "is_success"),
    [
        ([FAST], [FAST], SAME, True),
        ([FAST], [MIXED], SAME, True),  # the ranges overlap
        ([SLOW], [FAST], BETTER, True),
        ([FAST, FAST], [SLOW, SLOW], WORSE, False),
        ([FAST, FAST], [SLOW, FAST], NOT_REPRODUCED, True),
        ([FAST, FAST], [SLOW, MIXED], NOT_REPRODUCED, True),
    ],
)
def test_a_row_is_worse_if_it_is_worse_in_two_sets_of_rounds(
    compare: Compare, base: list[list[float]], head: list[list[float]], expected_verdict: str, is_success: bool
) -> None:
    outcome = compare({"poll": build_measure(*base)}, {"poll": build_measure(*head)})

    assert (read_only_verdict(outcome), outcome.is_success) == (expected_verdict, is_success)
    assert outcome.omissions == {"scale": "it has no row"}


def test_trees_alternate_and_only_rows_that_look_worse_are_measured_again(
    compare: Compare, trees: ScriptedTrees
) -> None:
    outcome = compare(
        {"poll": build_measure(FAST), "submit": build_measure(FAST, FAST)},
        {"poll": build_measure(FAST), "submit": build_measure(SLOW, SLOW)},
    )

    round_base_first = ["poll base", "poll head", "submit base", "submit head"]
    round_head_first = ["poll head", "poll base", "submit head", "submit base"]
    assert trees.read_order()[:20] == [
        *round_base_first,
        *round_head_first,
        *round_base_first,
        *round_head_first,
        *round_base_first,
    ]
    submit_head_first, submit_base_first = ["submit head", "submit base"], ["submit base", "submit head"]
    assert trees.read_order()[20:] == [
        *submit_head_first,
        *submit_base_first,
        *submit_head_first,
        *submit_base_first,
        *submit_head_first,
    ]
    assert {(verdict.row.measure, verdict.label) for verdict in outcome.verdicts} == {
        ("poll", SAME),
        ("submit", WORSE),
    }


def test_measures_that_do_not_fit_into_the_time_are_omitted_and_listed(compare: Compare, trees: ScriptedTrees) -> None:
    measures = {
        "poll": build_measure(FAST, seconds=1),
        "many": build_measure(FAST, seconds=100),
        "growth": build_measure(FAST, seconds=101, once_s=100),
    }

    outcome = compare(measures, measures, seconds=100)

    assert outcome.omissions["many"] == "1 round, because another round takes 200 s"
    assert {verdict.row.measure: verdict.label for verdict in outcome.verdicts} == {
        "poll": SAME,
        "growth": SAME,  # later rounds do not repeat its preparation
        "many": NOT_JUDGED,
    }
    assert trees.read_order().count("many head") == 1


def test_measures_that_take_longer_than_expected_have_fewer_rounds_and_are_listed(compare: Compare) -> None:
    measures = {"poll": build_measure(FAST, seconds=[1, 1, 1000])}

    outcome = compare(measures, measures)

    assert outcome.omissions["poll"] == "3 rounds, because no time remained"
    assert len(outcome.verdicts[0].row.samples.head) == 3


def test_a_row_that_looks_worse_and_cannot_be_measured_again_is_a_failure(compare: Compare) -> None:
    slow_measures = {"poll": build_measure(SLOW, seconds=1, once_s=1000)}

    outcome = compare({"poll": build_measure(FAST)}, slow_measures)

    assert (read_only_verdict(outcome), outcome.is_success) == (NOT_REMEASURED, False)


def test_a_measure_that_fails_is_reported(compare: Compare) -> None:
    outcome = compare({"poll": build_measure(FAST)}, {"poll": build_measure(FAST, error="Failed: status 500")})

    assert outcome.failures == {"poll (head)": "failed in 5 of 5 rounds: Failed: status 500"}
    assert (outcome.verdicts, outcome.only_in_base, outcome.is_success) == ([], [], False)


def test_a_session_that_exits_ends_the_measurements_and_the_results_are_returned(compare: Compare) -> None:
    outcome = compare(
        {"poll": build_measure(FAST), "submit": build_measure(FAST)},
        {"poll": build_measure(FAST), "submit": build_measure(FAST, exits=True)},
    )

    assert "session of head exited" in outcome.failures["session"]
    assert "This session has exited." in outcome.failures["session"]
    assert (read_only_verdict(outcome), outcome.is_success) == (NOT_JUDGED, False)


def test_a_session_with_another_protocol_version_is_not_used(compare: Compare) -> None:
    outcome = compare({"poll": build_measure(FAST)}, {"poll": build_measure(FAST)}, protocol=PROTOCOL + 1)

    assert f"uses protocol {PROTOCOL + 1}" in outcome.failures["session"]
    assert outcome.verdicts == []


def test_rows_and_measures_of_only_one_tree_are_listed_but_not_compared(compare: Compare) -> None:
    base = {"poll": {"rows": {"row": [FAST[:]], "old": [FAST[:]]}}, "gone": build_measure(FAST)}
    head = {"poll": {"rows": {"row": [FAST[:]], "new": [SLOW[:]]}}, "whole": build_measure(FAST)}

    outcome = compare(base, head, base_sizes={"trips": 25, "old": 1}, head_sizes={"trips": 100})

    assert outcome.only_in_base == ["measure gone", "old"]
    assert outcome.only_in_head == ["measure whole", "new"]
    assert (read_only_verdict(outcome), outcome.is_success) == (SAME, True)
    assert outcome.notes == ["The trees use different values of trips: 25 and 100."]


def test_only_the_selected_measures_run(compare: Compare, trees: ScriptedTrees) -> None:
    measures = {"poll": build_measure(FAST), "submit": build_measure(FAST)}

    outcome = compare(measures, measures, selected_measures=("submit",))

    assert {line.split()[0] for line in trees.read_order()} == {"submit"}
    assert outcome.omissions["poll"] == "not selected"


def test_an_unknown_measure_is_rejected(compare: Compare) -> None:
    with pytest.raises(ComparisonError, match=r"Unknown measures: pol. Available: poll."):
        compare({"poll": build_measure(FAST)}, {"poll": build_measure(FAST)}, selected_measures=("pol",))
