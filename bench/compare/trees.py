"""The two trees: one Git worktree per commit, each with a virtual environment from that commit's own pins."""

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
# These variables would make the Python of a tree import packages of this checkout.
_NOT_INHERITED = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")


class Refused(Exception):
    """The comparison is not possible; the message contains the reason."""


@dataclass(frozen=True)
class Tree:
    """A checked-out commit.

    Args:
        name: `base` or `head`.
        commit: full commit ID.
        subject: subject of the commit message.
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
    """The checkout in which the command runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def tree(self, name: str, revision: str, folder: Path) -> Tree:
        """The tree of a revision, without checking it out.

        Raises:
            Refused: the revision does not exist, or its tree contains no session program.
        """
        found = self._git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}", check=False)
        if found.returncode != 0:
            raise Refused(
                f"{revision} is not a commit of this clone. If the clone is shallow, run: git fetch --unshallow"
            )
        commit = found.stdout.strip()
        if self._git("cat-file", "-e", f"{commit}:{SESSION}", check=False).returncode != 0:
            raise Refused(
                f"{revision} ({commit[:10]}) has no {SESSION} and cannot be measured. {self._first_with_session()}"
            )
        subject = self._git("show", "--no-patch", "--format=%s", commit).stdout.strip()
        return Tree(name, commit, subject, folder)

    def _first_with_session(self) -> str:
        added = self._git("log", "--reverse", "--diff-filter=A", "--format=%h %s", "HEAD", "--", SESSION)
        first, _, _ = added.stdout.partition("\n")
        return f"The first commit that has it is {first}." if first else "No ancestor of HEAD has it."

    def changed(self, base: Tree, head: Tree, under: str) -> list[str]:
        """Paths of the files in a folder that differ between two commits."""
        return self._git("diff", "--name-only", base.commit, head.commit, "--", under).stdout.split()

    def uncommitted(self) -> bool:
        """Whether tracked files of the checkout differ from HEAD."""
        return bool(self._git("status", "--porcelain", "--untracked-files=no").stdout)

    @contextlib.contextmanager
    def checked_out(self, *trees: Tree) -> Iterator[None]:
        """Create the worktrees, and delete them with all of their files on exit."""
        self._git("worktree", "prune")  # entries left by a killed comparison
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
    """Lock the folder against other comparisons, and empty it of the files of a killed one.

    Raises:
        Refused: another comparison is using the folder.
    """
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Refused(f"Another comparison is using {folder}.") from error
        for left in folder.iterdir():
            if left.is_dir():
                shutil.rmtree(left)
        yield folder
        shutil.rmtree(folder, ignore_errors=True)  # servers of a killed session may still be stopping


def install(tree: Tree) -> None:
    """Create the virtual environment of the tree from its own pins, checking the hashes.

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
