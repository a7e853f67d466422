"""Worktrees of two commits, in Git repositories that the tests create."""

import subprocess
from pathlib import Path

import pytest

from bench.compare import trees
from bench.compare.trees import SESSION, ComparisonError, Repository


def run_git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    result = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return result.stdout.strip()


def commit_file(folder: Path, path: str, text: str, subject: str) -> str:
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text(text)
    run_git(folder, "add", "-A")
    run_git(folder, "commit", "-q", "-m", subject)
    return run_git(folder, "rev-parse", "HEAD")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A repository with three commits: without a session, with a session, and with a change of the benchmark."""
    folder = tmp_path / "clone"
    folder.mkdir()
    run_git(folder, "init", "-q")
    commit_file(folder, "README.md", "one", "Start")
    commit_file(folder, SESSION, "pass", "Add the session")
    commit_file(folder, "bench/run.py", "pass", "Change the benchmark")
    return folder


def test_a_tree_has_the_commit_and_the_subject_of_its_revision(clone: Path, tmp_path: Path) -> None:
    tree = Repository(clone).find_tree("base", "HEAD~1", tmp_path / "base")

    assert (tree.commit, tree.subject) == (run_git(clone, "rev-parse", "HEAD~1"), "Add the session")
    assert not tree.folder.exists()


def test_the_error_for_a_commit_without_a_session_contains_the_first_commit_with_one(
    clone: Path, tmp_path: Path
) -> None:
    first_id = run_git(clone, "rev-parse", "--short", "HEAD~1")

    with pytest.raises(
        ComparisonError, match=rf"has no {SESSION}.*first commit that has this file is {first_id} Add the session"
    ):
        Repository(clone).find_tree("base", "HEAD~2", tmp_path / "base")


@pytest.mark.parametrize("revision", ["no-such-branch", "0" * 40, "--help"])
def test_a_revision_that_is_not_a_commit_is_rejected(clone: Path, tmp_path: Path, revision: str) -> None:
    with pytest.raises(ComparisonError, match="is not a commit of this clone"):
        Repository(clone).find_tree("base", revision, tmp_path / "base")


def test_worktrees_are_created_and_then_deleted(clone: Path, tmp_path: Path) -> None:
    repository = Repository(clone)
    base, head = (
        repository.find_tree(name, revision, tmp_path / name)
        for name, revision in (("base", "HEAD~1"), ("head", "HEAD"))
    )

    with repository.open_worktrees(base, head):
        assert [(tree.folder / "bench/run.py").exists() for tree in (base, head)] == [False, True]
        (base.folder / "new.txt").write_text("written by the benchmark")

    assert not base.folder.exists()
    assert not head.folder.exists()
    assert len(run_git(clone, "worktree", "list").splitlines()) == 1


def test_worktrees_of_a_killed_comparison_are_replaced(clone: Path, tmp_path: Path) -> None:
    repository = Repository(clone)
    folder = tmp_path / "compare"
    folder.mkdir()
    run_git(clone, "worktree", "add", "-q", "--detach", str(folder / "base"), "HEAD")
    base = repository.find_tree("base", "HEAD~1", folder / "base")

    with trees.lock_folder(folder), repository.open_worktrees(base):
        assert run_git(base.folder, "rev-parse", "HEAD") == base.commit

    assert not folder.exists()


def test_two_comparisons_cannot_use_the_same_folder(tmp_path: Path) -> None:
    folder = tmp_path / "compare"
    with (
        trees.lock_folder(folder),
        pytest.raises(ComparisonError, match="Another comparison"),
        trees.lock_folder(folder),
    ):
        pass


def test_changes_of_the_benchmark_and_uncommitted_changes_are_found(clone: Path, tmp_path: Path) -> None:
    repository = Repository(clone)
    base, head = (
        repository.find_tree(name, revision, tmp_path / name)
        for name, revision in (("base", "HEAD~1"), ("head", "HEAD"))
    )

    assert repository.changed_paths(base, head, "bench") == ["bench/run.py"]
    assert not repository.has_uncommitted_changes()
    (clone / "README.md").write_text("two")
    assert repository.has_uncommitted_changes()
