"""The report file and the output of a comparison."""

import io
import json
from pathlib import Path

from rich.console import Console

from bench.compare import report
from bench.compare.comparison import BETTER, NOT_REMEASURED, NOT_REPRODUCED, WORSE, Outcome, RowVerdict
from bench.compare.rounds import RowComparison
from bench.compare.trees import Tree
from bench.compare.verdict import Samples

FAST = Samples((10, 12, 11), (10, 11, 13), higher_is_better=False)
SLOW = Samples((10, 12, 11), (20, 22, 21), higher_is_better=False)
OUTCOME = Outcome(
    verdicts=[
        RowVerdict(RowComparison("submit", "submit p50, 1 client", "ms", SLOW), WORSE, repetition=SLOW),
        RowVerdict(RowComparison("poll", "poll", "ms", SLOW), NOT_REPRODUCED, repetition=FAST),
        RowVerdict(RowComparison("many", "many", "s", FAST), ""),
    ],
    omissions={"levels": "no row", "scale": "no row", "growth": "1 round, because another round takes 90 s"},
    failures={"relay (head)": "failed in 1 of 5 rounds: Failed: status 500"},
    only_in_base=["old"],
    only_in_head=["new [row]"],
    notes=["The benchmark itself differs between the trees: bench/run.py"],
)


def create_tree(name: str) -> Tree:
    return Tree(name, name.ljust(40, "0"), f"Change {name}", Path("/nowhere"))


def show_report(outcome: Outcome) -> str:
    output = io.StringIO()
    report.show(create_tree("base"), create_tree("head"), outcome, Console(file=output, width=170))
    return output.getvalue()


def test_the_report_contains_the_figures_of_both_measurements(tmp_path: Path) -> None:
    path = tmp_path / "compare.json"

    report.write(create_tree("base"), create_tree("head"), OUTCOME, quick=True, seconds=449.4, path=path)

    document = json.loads(path.read_text())
    assert document["worse"] == ["submit p50, 1 client"]
    assert (document["base"]["commit"], document["head"]["subject"]) == (create_tree("base").commit, "Change head")
    first, second, third = document["rows"]
    assert first["first"]["base"] == {"median": 11, "spread": [10, 12], "figures": [10, 12, 11]}
    assert (first["first"]["ratio"], first["first"]["rounds"], first["again"]["ratio"]) == (1.909, 3, 1.909)
    assert (second["verdict"], second["again"]["ratio"], third["again"]) == (NOT_REPRODUCED, 1, None)
    assert (document["left_out"], document["failed"]) == (OUTCOME.omissions, OUTCOME.failures)
    assert (document["only_in_base"], document["only_in_head"], document["notes"]) == (
        ["old"],
        ["new [row]"],
        OUTCOME.notes,
    )
    assert (document["seconds"], document["quick"], document["machine"]["cores"] > 0) == (449, True, True)


def test_the_output_lists_worse_rows_and_everything_that_was_not_compared() -> None:
    text = show_report(OUTCOME)

    assert "11 (10 - 12)" in text
    assert "21 (20 - 22)" in text
    assert text.count("measured again") == 2
    for line in (
        "Without five rounds: levels, scale (no row)",
        "Without five rounds: growth (1 round, because another round takes 90 s)",
        "Failed: relay (head): failed in 1 of 5 rounds: Failed: status 500",
        "Only in base: old",
        "Only in head: new [row]",
        "Note: The benchmark itself differs between the trees: bench/run.py",
    ):
        assert line in text
    assert text.endswith("Worse: submit p50, 1 client\n")


def test_the_output_lists_unconfirmed_rows_as_worse() -> None:
    row = RowComparison("poll", "poll", "ms", SLOW)

    assert show_report(Outcome([RowVerdict(row, NOT_REMEASURED)])).endswith("Worse: poll\n")
    assert show_report(Outcome([RowVerdict(row, BETTER)])).endswith("Nothing is worse.\n")
