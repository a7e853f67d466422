"""The check of commit messages, on repositories that the tests create."""

import subprocess
import sys
from pathlib import Path

import pytest

from checks.commits import check_commits
from checks.repository import BASE_FILE, ROOT, CheckError
from tests.checks.clones import Clone, python_lines


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone.create(tmp_path / "clone", {"old.py": python_lines(90)})


def run_check(clone: Clone) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "checks.commits", "--root", str(clone.root)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_commits_that_follow_the_rules_pass(clone: Clone) -> None:
    clone.commit("x" * 72, {"a.py": python_lines(20)})
    clone.commit("Add a module\n\nThe old module was too slow.", {"b.py": python_lines(100)})

    assert check_commits(clone) == []
    assert run_check(clone).returncode == 0


def test_a_long_subject_is_reported_with_its_length(clone: Clone) -> None:
    commit_id = clone.commit("é" * 73, {"a.txt": "1"})

    (message,) = check_commits(clone)

    assert message.startswith(f"{commit_id[:12]} éé")
    assert "the subject has 73 characters" in message


def test_two_lines_of_a_subject_are_joined(clone: Clone) -> None:
    clone.commit("x" * 40 + "\n" + "y" * 40, {"a.txt": "1"})

    assert "the subject has 81 characters" in check_commits(clone)[0]


@pytest.mark.parametrize("path", ["a.py", "deep/b.py", "c.sql", "d.sh", "Makefile", ".ci/run"])
def test_a_change_of_more_than_20_lines_of_code_needs_a_body(clone: Clone, path: str) -> None:
    clone.commit("Add code", {path: python_lines(21)})

    (message,) = check_commits(clone)

    assert "21 lines of code change" in message


def test_added_and_deleted_lines_of_all_files_are_counted(clone: Clone) -> None:
    clone.commit("Replace code", {"old.py": python_lines(80), "new.py": python_lines(6), "other.sql": python_lines(5)})

    assert "21 lines of code change" in check_commits(clone)[0]


def test_a_change_to_documents_needs_no_body(clone: Clone) -> None:
    clone.commit("Describe it", {"docs/a.md": python_lines(200), "pins.txt": python_lines(200), "plot.png": "\0" * 500})

    assert check_commits(clone) == []


def test_a_move_of_a_file_needs_no_body(clone: Clone) -> None:
    clone.run_git("mv", "old.py", "new name.py")
    clone.commit("Move a module", {})

    assert check_commits(clone) == []


def test_trailers_alone_are_not_a_body(clone: Clone) -> None:
    clone.commit("Add code\n\nSigned-off-by: Test <test@example.com>", {"a.py": python_lines(21)})

    assert "no body" in check_commits(clone)[0]


def test_a_body_may_end_with_trailers(clone: Clone) -> None:
    clone.commit("Add code\n\nIt was missing.\n\nSigned-off-by: Test <test@example.com>", {"a.py": python_lines(21)})

    assert check_commits(clone) == []


def test_merge_commits_are_skipped_but_merged_commits_are_checked(clone: Clone) -> None:
    clone.run_git("checkout", "-q", "-b", "side")
    side_id = clone.commit("Add code", {"side.py": python_lines(30)})
    clone.run_git("checkout", "-q", "main")
    clone.commit("Add a document", {"a.md": "1"})
    clone.run_git("merge", "-q", "--no-ff", "-m", "m" * 100, "side")

    (message,) = check_commits(clone)

    assert message.startswith(side_id[:12])


def test_commits_up_to_the_base_are_not_checked(clone: Clone) -> None:
    invalid_commit = clone.commit("x" * 100, {"a.py": python_lines(50)})
    clone.set_base(invalid_commit)
    clone.commit("Move the base", {})

    assert check_commits(clone) == []


def test_the_command_lists_every_commit_that_violates_a_rule_and_fails(clone: Clone) -> None:
    first_id = clone.commit("Add code", {"a.py": python_lines(30)})
    second_id = clone.commit("x" * 80, {"b.py": python_lines(40)})

    result = run_check(clone)

    assert result.returncode == 1
    assert f"{first_id[:12]} Add code" in result.stderr
    assert f"{second_id[:12]} xx" in result.stderr
    assert "80 characters; at most 72 are allowed; 40 lines of code change" in result.stderr


def test_the_error_for_a_missing_base_commit_contains_its_id(clone: Clone) -> None:
    clone.set_base("1" * 40)

    result = run_check(clone)

    assert result.returncode == 1
    assert f"{BASE_FILE} names commit {'1' * 40}. This commit is missing from this clone" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_error_for_a_shallow_clone_recommends_fetching_the_history(clone: Clone, tmp_path: Path) -> None:
    for n in range(3):
        clone.commit("Add a document", {f"{n}.md": "1"})
    shallow_clone = clone.clone_shallow(tmp_path / "shallow", depth=2)

    with pytest.raises(CheckError, match="git fetch --unshallow"):
        check_commits(shallow_clone)

    shallow_clone.run_git("fetch", "-q", "--unshallow")
    assert check_commits(shallow_clone) == []


def test_a_base_commit_that_is_not_an_ancestor_is_an_error(clone: Clone) -> None:
    clone.run_git("checkout", "-q", "-b", "side")
    side_id = clone.commit("Add a document", {"a.md": "1"})
    clone.run_git("checkout", "-q", "main")
    clone.set_base(side_id)

    with pytest.raises(CheckError, match="not an ancestor of HEAD"):
        check_commits(clone)


@pytest.mark.parametrize("text", ["", "main", "6553f9f"])
def test_the_base_commit_must_be_a_full_id(clone: Clone, text: str) -> None:
    clone.set_base(text)

    with pytest.raises(CheckError, match="one full commit ID"):
        check_commits(clone)
