"""The two trees: Git worktrees of a commit each, with a virtual environment from that commit's own pins."""

import contextlib
import fcntl
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from local.processes import environment

SESSION = "bench/compare/session.py"
_PINS = ("requirements/runtime.txt", "requirements/local.txt")
# They would lead a tree's Python to packages of this one.
_NOT_INHERITED = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")


class Refused(Exception):
    """The comparison cannot be made; the text says why."""


@dataclass(frozen=True)
class Tree:
    """A checked-out commit.

    Args:
        name: `base` or `head`.
        commit: its full ID.
        subject: of the commit's message.
    """

    name: str
    commit: str
    subject: str
    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / ".venv" / "bin" / "python"

    @property
    def environment(self) -> dict[str, str]:
        return {name: value for name, value in environment.inherited().items() if name not in _NOT_INHERITED}


class Repository:
    """The checkout that the command runs in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def tree(self, name: str, revision: str, folder: Path) -> Tree:
        """The tree that a revision names; it is not checked out yet.

        Raises:
            Refused: there is no such commit, or it has no session that could be driven.
        """
        found = self._git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}", check=False)
        if found.returncode != 0:
            raise Refused(
                f"{revision} is no commit of this clone. A shallow clone lacks history: git fetch --unshallow"
            )
        commit = found.stdout.strip()
        if self._git("cat-file", "-e", f"{commit}:{SESSION}", check=False).returncode != 0:
            raise Refused(
                f"{revision} ({commit[:10]}) has no {SESSION} to measure it with. {self._first_with_session()}"
            )
        subject = self._git("show", "--no-patch", "--format=%s", commit).stdout.strip()
        return Tree(name, commit, subject, folder)

    def _first_with_session(self) -> str:
        added = self._git("log", "--reverse", "--diff-filter=A", "--format=%h %s", "HEAD", "--", SESSION)
        first, _, _ = added.stdout.partition("\n")
        return f"The first commit that has it is {first}." if first else "No commit up to HEAD has it."

    def changed(self, base: Tree, head: Tree, under: str) -> list[str]:
        """Files under a folder in which two commits differ."""
        return self._git("diff", "--name-only", base.commit, head.commit, "--", under).stdout.split()

    def uncommitted(self) -> bool:
        """Whether tracked files of the checkout differ from HEAD."""
        return bool(self._git("status", "--porcelain", "--untracked-files=no").stdout)

    @contextlib.contextmanager
    def checked_out(self, *trees: Tree) -> Iterator[None]:
        """Worktrees inside the block; afterwards they are gone, and whatever was made in them."""
        self._git("worktree", "prune")  # what a killed comparison registered and nobody removed
        try:
            for tree in trees:
                self._git("worktree", "add", "--quiet", "--detach", str(tree.folder), tree.commit)
            yield
        finally:
            for tree in trees:
                shutil.rmtree(tree.folder, ignore_errors=True)
            self._git("worktree", "prune")

    def _git(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(["git", *arguments], cwd=self.folder, capture_output=True, text=True, check=False)
        if check and done.returncode != 0:
            raise Refused(f"git {' '.join(arguments)}: {done.stderr.strip()}")
        return done


@contextlib.contextmanager
def sole_use(folder: Path) -> Iterator[Path]:
    """An empty folder that no other comparison uses; what a killed one left in it is deleted.

    Raises:
        Refused: another comparison uses it.
    """
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Refused(f"Another comparison uses {folder}.") from error
        for left in folder.iterdir():
            if left.is_dir():
                shutil.rmtree(left)
        yield folder
        shutil.rmtree(folder, ignore_errors=True)  # servers of a killed session may still be stopping


def install(tree: Tree) -> None:
    """Make the tree's virtual environment from its own pins, hashes checked.

    Raises:
        Refused: a package cannot be installed.
    """
    _uv(tree, "venv", "--python", sys.executable, str(tree.python.parents[1]))
    pins = [word for path in _PINS for word in ("-r", path)]
    _uv(tree, "pip", "install", "--python", str(tree.python), "--no-deps", "--require-hashes", *pins)
    _uv(tree, "pip", "install", "--python", str(tree.python), "--no-deps", "--no-build-isolation", "-e", ".")


def _uv(tree: Tree, *arguments: str) -> None:
    uv = Path(sys.executable).with_name("uv")
    if not uv.exists():
        raise Refused(f"{uv} is missing. Run: make .venv/.bench-installed")
    done = subprocess.run(
        [uv, "--quiet", "--no-config", *arguments],
        cwd=tree.folder,
        env=tree.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise Refused(f"uv {' '.join(arguments[:2])} in the tree of {tree.name} failed: {done.stderr.strip()}")
