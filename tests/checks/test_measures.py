"""The command `checks.measures` and the limits of the measures, on repositories that the tests create."""

import subprocess
import sys
from pathlib import Path

import pytest

from checks import limits
from checks.measure import Measure, Place
from checks.measures import check_limits, measure_commit, measure_work_tree
from checks.repository import ROOT, CheckError
from tests.checks.clones import PYPROJECT, Clone

SOURCES = {
    "pyproject.toml": PYPROJECT,
    ".gitignore": "ignored/\n",
    "app/__init__.py": "",
    "app/routes.py": '@routes.get("/")\ndef show() -> int:\n    return 1\n',
    "bench/__init__.py": "",
    limits.FILE: "",
    "core/__init__.py": "",
    "core/store.py": (
        "import redis\n\nCLIENT = redis.Redis()\n"
        "CREATE = \"insert into responses values ('queued')\"\n"
        "CLAIM = \"update responses set attempt = attempt + 1, status = 'in_progress'\"\n"
        'END = "update responses set finished_at = now()"\n'
    ),
    "core/document.py": "FIELDS = '''" + (ROOT / "checks/rows/wire_names.py").read_text() + "'''\n",
    "tests/test_one.py": "",
}
WORSE_FILES = {"core/more.py": "RETRY = \"insert into responses values ('queued')\"\n"}


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    clone = Clone.create(tmp_path / "clone", SOURCES)
    limits.write_limits(clone, limits.build_limits(measure_work_tree(clone)))
    clone.set_base(clone.commit("Add limits", {}))
    return clone


def run_measures(clone: Clone, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "checks.measures", "--root", str(clone.root), *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def find_violations(clone: Clone) -> list[str]:
    return check_limits(clone, measure_work_tree(clone))


def test_a_tree_is_within_the_limits_that_were_set_from_its_values(clone: Clone) -> None:
    result = run_measures(clone, "--check")

    assert (result.returncode, result.stderr) == (0, "")
    assert "measures of the code are within their limits" in result.stdout
    assert "can be lowered" not in result.stdout


def test_every_limited_measure_has_a_limit(clone: Clone) -> None:
    assert limits.read_limits(clone) == {measure.key: measure.value for measure in measure_work_tree(clone)}


def test_the_check_fails_above_a_limit_and_lists_the_places(clone: Clone) -> None:
    clone.write_files(WORSE_FILES)

    result = run_measures(clone, "--check")

    assert result.returncode == 1
    assert "create_statements (ways to create: SQL statements that insert into responses) is 2; its limit is 1" in (
        result.stderr
    )
    assert "  core/more.py:1: insert into responses\n  core/store.py:4: insert into responses" in result.stderr


def test_files_that_git_ignores_are_not_measured(clone: Clone) -> None:
    clone.write_files({f"ignored/{path}": text for path, text in WORSE_FILES.items()})

    assert find_violations(clone) == []


def test_a_value_within_its_goal_passes_above_its_limit(clone: Clone) -> None:
    clone.write_files({"core/long.py": "def count_rows() -> int:\n" + "    x = 1\n" * 29})

    measures = {measure.key: measure for measure in measure_work_tree(clone)}

    assert measures["function_lines_max"].value == 30 > limits.read_limits(clone)["function_lines_max"]
    assert [message for message in find_violations(clone) if "function_lines_max" in message] == []


def test_the_check_fails_if_a_limit_is_higher_than_at_the_base_commit(clone: Clone) -> None:
    current_limits = limits.read_limits(clone)
    limits.write_limits(clone, {**current_limits, "create_statements": 2})

    (message,) = find_violations(clone)

    assert message == "The limit of create_statements is 2, but 1 at the base commit. Limits must not be raised."


def test_limits_may_be_added_if_the_base_commit_has_none(clone: Clone) -> None:
    clone.write_files(WORSE_FILES)
    limits.write_limits(clone, limits.build_limits(measure_work_tree(clone)))
    assert len(find_violations(clone)) > 1

    clone.set_base(clone.run_git("rev-list", "--max-parents=0", "HEAD").strip())

    assert find_violations(clone) == []


def test_the_check_fails_for_a_missing_limit_and_for_an_unknown_key(clone: Clone) -> None:
    current_limits = {key: limit for key, limit in limits.read_limits(clone).items() if key != "redis_clients"}
    limits.write_limits(clone, {**current_limits, "speed": 1})

    assert find_violations(clone) == [
        "redis_clients has no limit in checks/limits.toml. Set it to the current value: redis_clients = 1",
        "speed in checks/limits.toml is not the key of a measure.",
    ]


def test_the_check_fails_if_a_measure_cannot_be_computed(clone: Clone) -> None:
    clone.write_files(
        {"core/store.py": SOURCES["core/store.py"].replace("insert into responses", "insert into answers")}
    )

    (message,) = find_violations(clone)

    assert message.startswith("create_statements (")
    assert "can no longer be computed" in message


def test_the_check_reports_a_limit_that_can_be_lowered(clone: Clone) -> None:
    limits.write_limits(clone, {**limits.read_limits(clone), "redis_clients": 9})
    clone.set_base(clone.commit("Add a limit that is too high", {}))

    result = run_measures(clone, "--check")

    assert result.returncode == 0
    assert "The limit redis_clients = 9 can be lowered to 1: make measures LOWER=1" in result.stdout


def test_the_option_lower_lowers_limits_and_raises_none(clone: Clone) -> None:
    clone.write_files(WORSE_FILES)
    current_limits = limits.read_limits(clone)
    limits.write_limits(clone, {**current_limits, "redis_clients": 9})

    assert run_measures(clone, "--lower").returncode == 0
    assert limits.read_limits(clone) == current_limits


def test_the_option_write_sets_all_limits_to_the_values(clone: Clone) -> None:
    clone.write_files(WORSE_FILES)

    assert run_measures(clone, "--write").returncode == 0
    assert limits.read_limits(clone)["create_statements"] == 2


def test_the_table_shows_the_base_commit_and_the_work_tree(clone: Clone) -> None:
    clone.write_files(WORSE_FILES)
    clone.commit("x" * 80 + "\n\nIt has a body.", {})

    result = run_measures(clone, "--base", "HEAD~1")

    # The last columns: key, goal, limit, value of the work tree, value of the base commit.
    cells = [line.split()[-5:] for line in result.stdout.splitlines()]
    assert ["create_statements", "1", "1", "2", "1"] in cells
    assert ["long_subjects", "-", "-", "33", "0"] in cells
    assert ["empty_bodies", "-", "-", "67", "100"] in cells


def test_a_missing_commit_is_an_error(clone: Clone) -> None:
    with pytest.raises(CheckError, match=f"Commit {'1' * 40} is missing"):
        measure_commit(clone, "1" * 40)


def test_new_places_are_listed_before_the_worst_places() -> None:
    base_places = (Place("3.py", 1, "long", 3), *(Place(f"{n}.py", 1, "long", n) for n in range(4, 14)))
    places = (*base_places, Place("3.py", 7, "long", 2), Place("1.py", 1, "long", 1))

    message = limits.describe_exceeded_limit(
        Measure("a", "A", 13, 0, places), 1, [Measure("a", "A", 11, 0, base_places)]
    )

    lines = [line.split(": ")[0].strip() for line in message.splitlines()[1:]]
    assert lines[:5] == ["3.py:1", "3.py:7", "1.py:1", "13.py:1", "12.py:1"]
    assert lines[10] == "... and 3 more"
