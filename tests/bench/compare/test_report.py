"""The files and output that a comparison writes."""

import io
import json
from pathlib import Path

from rich.console import Console

from bench.compare import report
from bench.compare.comparison import BETTER, NOT_CONFIRMED, UNCONFIRMED, WORSE, Outcome, Verdict
from bench.compare.rounds import Compared
from bench.compare.trees import Tree
from bench.compare.verdict import Samples

FAST, SLOW = Samples((10, 12, 11), (10, 11, 13), higher_is_better=False), Samples((10, 12, 11), (20, 22, 21), False)
OUTCOME = Outcome(
    verdicts=[
        Verdict(Compared("submit", "submit p50, 1 client", "ms", SLOW), WORSE, again=SLOW),
        Verdict(Compared("poll", "poll", "ms", SLOW), NOT_CONFIRMED, again=FAST),
        Verdict(Compared("many", "many", "s", FAST), ""),
    ],
    left_out={"levels": "no row", "scale": "no row", "growth": "1 round, because another one takes 90 s"},
    failed={"relay (head)": "failed in 1 of 5 rounds: Failed: status 500"},
    only_in_base=["old"],
    only_in_head=["new [row]"],
    notes=["The benchmark itself differs between the trees: bench/run.py"],
)


def tree(name: str) -> Tree:
    return Tree(name, name.ljust(40, "0"), f"Change {name}", Path("/nowhere"))


def shown(outcome: Outcome) -> str:
    written = io.StringIO()
    report.show(tree("base"), tree("head"), outcome, Console(file=written, width=170))
    return written.getvalue()


def test_the_report_has_every_figure_of_both_measurements(tmp_path: Path) -> None:
    path = tmp_path / "compare.json"

    report.write(tree("base"), tree("head"), OUTCOME, quick=True, seconds=449.4, path=path)

    found = json.loads(path.read_text())
    assert found["worse"] == ["submit p50, 1 client"]
    assert (found["base"]["commit"], found["head"]["subject"]) == (tree("base").commit, "Change head")
    first, second, third = found["rows"]
    assert first["first"]["base"] == {"median": 11, "spread": [10, 12], "figures": [10, 12, 11]}
    assert (first["first"]["ratio"], first["first"]["rounds"], first["again"]["ratio"]) == (1.909, 3, 1.909)
    assert (second["verdict"], second["again"]["ratio"], third["again"]) == (NOT_CONFIRMED, 1, None)
    assert (found["left_out"], found["failed"]) == (OUTCOME.left_out, OUTCOME.failed)
    assert (found["only_in_base"], found["only_in_head"], found["notes"]) == (["old"], ["new [row]"], OUTCOME.notes)
    assert (found["seconds"], found["quick"], found["machine"]["cores"] > 0) == (449, True, True)


def test_the_table_names_what_is_worse_and_everything_that_was_not_compared() -> None:
    text = shown(OUTCOME)

    assert "11 (10 - 12)" in text
    assert "21 (20 - 22)" in text
    assert text.count("measured again") == 2
    for line in (
        "Without five rounds: levels, scale (no row)",
        "Without five rounds: growth (1 round, because another one takes 90 s)",
        "Failed: relay (head): failed in 1 of 5 rounds: Failed: status 500",
        "Only in base: old",
        "Only in head: new [row]",
        "Note: The benchmark itself differs between the trees: bench/run.py",
    ):
        assert line in text
    assert text.endswith("Worse: submit p50, 1 client\n")


def test_what_could_not_be_measured_again_counts_as_worse_and_what_is_better_does_not() -> None:
    row = Compared("poll", "poll", "ms", SLOW)

    assert shown(Outcome([Verdict(row, UNCONFIRMED)])).endswith("Worse: poll\n")
    assert shown(Outcome([Verdict(row, BETTER)])).endswith("Nothing is worse.\n")
