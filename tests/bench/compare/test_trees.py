"""Worktrees of two commits, in Git repositories made for the test."""

import subprocess
from pathlib import Path

import pytest

from bench.compare import trees
from bench.compare.trees import SESSION, Refused, Repository


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit(folder: Path, path: str, text: str, subject: str) -> str:
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text(text)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", subject)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A repository with three commits: without a session, with one, and with a change of the benchmark."""
    folder = tmp_path / "clone"
    folder.mkdir()
    git(folder, "init", "-q")
    commit(folder, "README.md", "one", "Start")
    commit(folder, SESSION, "pass", "Add the session")
    commit(folder, "bench/run.py", "pass", "Change the benchmark")
    return folder


def test_a_revision_names_a_tree(clone: Path, tmp_path: Path) -> None:
    tree = Repository(clone).tree("base", "HEAD~1", tmp_path / "base")

    assert (tree.commit, tree.subject) == (git(clone, "rev-parse", "HEAD~1"), "Add the session")
    assert not tree.folder.exists()


def test_a_commit_without_a_session_is_refused_and_the_first_one_with_it_named(clone: Path, tmp_path: Path) -> None:
    first = git(clone, "rev-parse", "--short", "HEAD~1")

    with pytest.raises(Refused, match=rf"has no {SESSION}.*first commit that has it is {first} Add the session"):
        Repository(clone).tree("base", "HEAD~2", tmp_path / "base")


@pytest.mark.parametrize("revision", ["no-such-branch", "0" * 40, "--help"])
def test_what_is_no_commit_is_refused(clone: Path, tmp_path: Path, revision: str) -> None:
    with pytest.raises(Refused, match="is not a commit of this clone"):
        Repository(clone).tree("base", revision, tmp_path / "base")


def test_both_trees_are_checked_out_and_removed_again(clone: Path, tmp_path: Path) -> None:
    repository = Repository(clone)
    base, head = (repository.tree(name, at, tmp_path / name) for name, at in (("base", "HEAD~1"), ("head", "HEAD")))

    with repository.checked_out(base, head):
        assert [(tree.folder / "bench/run.py").exists() for tree in (base, head)] == [False, True]
        (base.folder / "made.txt").write_text("by the benchmark")

    assert not base.folder.exists()
    assert not head.folder.exists()
    assert git(clone, "worktree", "list").splitlines() == [git(clone, "worktree", "list")]


def test_trees_of_a_killed_comparison_are_replaced(clone: Path, tmp_path: Path) -> None:
    repository = Repository(clone)
    folder = tmp_path / "compare"
    folder.mkdir()
    git(clone, "worktree", "add", "-q", "--detach", str(folder / "base"), "HEAD")
    base = repository.tree("base", "HEAD~1", folder / "base")

    with trees.sole_use(folder), repository.checked_out(base):
        assert git(base.folder, "rev-parse", "HEAD") == base.commit

    assert not folder.exists()


def test_two_comparisons_do_not_share_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "compare"
    with trees.sole_use(folder), pytest.raises(Refused, match="Another comparison"), trees.sole_use(folder):
        pass


def test_what_the_figures_do_not_show_is_found(clone: Path, tmp_path: Path) -> None:
    repository = Repository(clone)
    base, head = (repository.tree(name, at, tmp_path / name) for name, at in (("base", "HEAD~1"), ("head", "HEAD")))

    assert repository.changed(base, head, "bench") == ["bench/run.py"]
    assert not repository.uncommitted()
    (clone / "README.md").write_text("two")
    assert repository.uncommitted()
