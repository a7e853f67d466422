"""The check of commit messages on real repositories."""

import subprocess
import sys
from pathlib import Path

import pytest

from checks.commits import check_commits
from checks.repository import BASE_FILE, ROOT, CheckError
from tests.checks.clones import Clone, lines


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone.create(tmp_path / "clone", {"old.py": lines(90)})


def run_check(clone: Clone) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "checks.commits", "--root", str(clone.root)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_commits_that_keep_the_rules_pass(clone: Clone) -> None:
    clone.commit("x" * 72, {"a.py": lines(20)})
    clone.commit("Add a module\n\nIt replaces the other one.", {"b.py": lines(100)})

    assert check_commits(clone) == []
    assert run_check(clone).returncode == 0


def test_a_long_subject_is_reported_with_its_length(clone: Clone) -> None:
    commit = clone.commit("é" * 73, {"a.txt": "1"})

    (message,) = check_commits(clone)

    assert message.startswith(f"{commit[:12]} éé")
    assert "the subject has 73 characters" in message


def test_a_subject_of_two_lines_counts_as_one(clone: Clone) -> None:
    clone.commit("x" * 40 + "\n" + "y" * 40, {"a.txt": "1"})

    assert "the subject has 81 characters" in check_commits(clone)[0]


@pytest.mark.parametrize("path", ["a.py", "deep/b.py", "c.sql", "d.sh", "Makefile", ".ci/run"])
def test_more_than_20_lines_of_code_need_a_body(clone: Clone, path: str) -> None:
    clone.commit("Add code", {path: lines(21)})

    (message,) = check_commits(clone)

    assert "21 lines of code change" in message


def test_added_and_deleted_lines_of_all_files_are_counted(clone: Clone) -> None:
    clone.commit("Replace code", {"old.py": lines(80), "new.py": lines(6), "other.sql": lines(5)})

    assert "21 lines of code change" in check_commits(clone)[0]


def test_documents_need_no_body(clone: Clone) -> None:
    clone.commit("Describe it", {"docs/a.md": lines(200), "pins.txt": lines(200), "plot.png": "\0" * 500})

    assert check_commits(clone) == []


def test_a_moved_file_is_no_change_of_code(clone: Clone) -> None:
    clone.run_git("mv", "old.py", "new name.py")
    clone.commit("Move a module", {})

    assert check_commits(clone) == []


def test_trailers_are_no_body(clone: Clone) -> None:
    clone.commit("Add code\n\nSigned-off-by: Test <test@example.com>", {"a.py": lines(21)})

    assert "no body" in check_commits(clone)[0]


def test_a_body_with_trailers_is_a_body(clone: Clone) -> None:
    clone.commit("Add code\n\nIt was missing.\n\nSigned-off-by: Test <test@example.com>", {"a.py": lines(21)})

    assert check_commits(clone) == []


def test_merges_are_skipped_and_what_they_merge_is_not(clone: Clone) -> None:
    clone.run_git("checkout", "-q", "-b", "side")
    side = clone.commit("Add code", {"side.py": lines(30)})
    clone.run_git("checkout", "-q", "main")
    clone.commit("Add a document", {"a.md": "1"})
    clone.run_git("merge", "-q", "--no-ff", "-m", "m" * 100, "side")

    (message,) = check_commits(clone)

    assert message.startswith(side[:12])


def test_commits_up_to_the_base_are_not_checked(clone: Clone) -> None:
    bad = clone.commit("x" * 100, {"a.py": lines(50)})
    clone.set_base(bad)
    clone.commit("Move the base", {})

    assert check_commits(clone) == []


def test_the_command_prints_every_offending_commit_and_fails(clone: Clone) -> None:
    first = clone.commit("Add code", {"a.py": lines(30)})
    second = clone.commit("x" * 80, {"b.py": lines(40)})

    result = run_check(clone)

    assert result.returncode == 1
    assert f"{first[:12]} Add code" in result.stderr
    assert f"{second[:12]} xx" in result.stderr
    assert "80 characters; at most 72 are allowed; 40 lines of code change" in result.stderr


def test_a_missing_base_commit_fails_with_its_id(clone: Clone) -> None:
    clone.set_base("1" * 40)

    result = run_check(clone)

    assert result.returncode == 1
    assert f"{BASE_FILE} names commit {'1' * 40}. It is missing from this clone" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_shallow_clone_is_told_to_fetch_the_history(clone: Clone, tmp_path: Path) -> None:
    for n in range(3):
        clone.commit("Add a document", {f"{n}.md": "1"})
    shallow = clone.copy(tmp_path / "shallow", depth=2)

    with pytest.raises(CheckError, match="git fetch --unshallow"):
        check_commits(shallow)

    shallow.run_git("fetch", "-q", "--unshallow")
    assert check_commits(shallow) == []


def test_a_base_that_is_no_ancestor_fails(clone: Clone) -> None:
    clone.run_git("checkout", "-q", "-b", "side")
    side = clone.commit("Add a document", {"a.md": "1"})
    clone.run_git("checkout", "-q", "main")
    clone.set_base(side)

    with pytest.raises(CheckError, match="not an ancestor of HEAD"):
        check_commits(clone)


@pytest.mark.parametrize("text", ["", "main", "6553f9f"])
def test_the_base_must_be_a_full_id(clone: Clone, text: str) -> None:
    clone.set_base(text)

    with pytest.raises(CheckError, match="one full commit ID"):
        check_commits(clone)
