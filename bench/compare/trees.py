"""Creates a Git worktree for each of the two commits, with a virtual environment built from the pins of the commit."""

import contextlib
import fcntl
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from local.processes import environment

# Path of the session program in a tree.
SESSION = "bench/compare/session.py"
_PIN_FILES = ("requirements/runtime.txt", "requirements/local.txt")
# With these variables, Python in a worktree would import packages of this checkout.
_REMOVED_VARIABLES = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")


class ComparisonError(Exception):
    """The comparison is not possible; the message states the reason."""


@dataclass(frozen=True)
class Tree:
    """A commit and its worktree.

    Args:
        name: `base` or `head`.
        commit: full commit ID.
        subject: subject of the commit message.
        folder: folder of the worktree.
    """

    name: str
    commit: str
    subject: str
    folder: Path

    @property
    def virtual_environment(self) -> Path:
        return self.folder / ".venv"

    @property
    def python(self) -> Path:
        return self.virtual_environment / "bin" / "python"

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables for processes of this tree."""
        return {
            name: value for name, value in environment.process_variables().items() if name not in _REMOVED_VARIABLES
        }


class Repository:
    """The Git checkout in which `make compare` runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find_tree(self, name: str, revision: str, folder: Path) -> Tree:
        """Describe the tree of a revision, without checking it out.

        Raises:
            ComparisonError: the revision does not exist, or its tree contains no session program.
        """
        result = self._git(
            "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}", check=False
        )
        if result.returncode != 0:
            raise ComparisonError(
                f"{revision} is not a commit of this clone. If the clone is shallow, run: git fetch --unshallow"
            )
        commit = result.stdout.strip()
        if self._git("cat-file", "-e", f"{commit}:{SESSION}", check=False).returncode != 0:
            raise ComparisonError(
                f"{revision} ({commit[:10]}) has no {SESSION} and cannot be measured. {self._describe_first_session()}"
            )
        subject = self._git("show", "--no-patch", "--format=%s", commit).stdout.strip()
        return Tree(name, commit, subject, folder)

    def _describe_first_session(self) -> str:
        log = self._git("log", "--reverse", "--diff-filter=A", "--format=%h %s", "HEAD", "--", SESSION)
        first_commit, _, _ = log.stdout.partition("\n")
        return (
            f"The first commit that has this file is {first_commit}."
            if first_commit
            else "No ancestor of HEAD has this file."
        )

    def changed_paths(self, base: Tree, head: Tree, folder: str) -> list[str]:
        """Return the paths of the files in a folder that differ between the commits of the trees."""
        return self._git("diff", "--name-only", base.commit, head.commit, "--", folder).stdout.split()

    def has_uncommitted_changes(self) -> bool:
        """Whether tracked files of the checkout differ from HEAD."""
        return bool(self._git("status", "--porcelain", "--untracked-files=no").stdout)

    @contextlib.contextmanager
    def open_worktrees(self, *trees: Tree) -> Iterator[None]:
        """Create the worktrees of the trees; on exit, delete the worktrees with all of their files."""
        self._git("worktree", "prune")  # remove entries left by a killed comparison
        try:
            for tree in trees:
                self._git("worktree", "add", "--quiet", "--detach", str(tree.folder), tree.commit)
            yield
        finally:
            for tree in trees:
                shutil.rmtree(tree.folder, ignore_errors=True)
            self._git("worktree", "prune")

    def _git(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        result = subprocess.run(["git", *arguments], cwd=self.folder, capture_output=True, text=True, check=False)
        if check and result.returncode != 0:
            raise ComparisonError(f"git {' '.join(arguments)}: {result.stderr.strip()}")
        return result


@contextlib.contextmanager
def lock_folder(folder: Path) -> Iterator[Path]:
    """Lock the folder against other comparisons, and delete worktrees that a killed comparison left there.

    Raises:
        ComparisonError: another comparison is using the folder.
    """
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ComparisonError(f"Another comparison is using {folder}.") from error
        for path in folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
        yield folder
        shutil.rmtree(folder, ignore_errors=True)  # the servers of a killed session may still write files


def install(tree: Tree) -> None:
    """Create the virtual environment of a tree from the pins of its commit, and verify the hashes of the packages.

    Raises:
        ComparisonError: a package cannot be installed.
    """
    _run_uv(tree, "venv", "--python", sys.executable, str(tree.virtual_environment))
    pin_options = [option for path in _PIN_FILES for option in ("-r", path)]
    _run_uv(tree, "pip", "install", "--python", str(tree.python), "--no-deps", "--require-hashes", *pin_options)
    _run_uv(tree, "pip", "install", "--python", str(tree.python), "--no-deps", "--no-build-isolation", "-e", ".")


def _run_uv(tree: Tree, *arguments: str) -> None:
    uv = Path(sys.executable).with_name("uv")
    if not uv.exists():
        raise ComparisonError(f"{uv} is missing. Run: make .venv/.bench-installed")
    result = subprocess.run(
        [uv, "--quiet", "--no-config", *arguments],
        cwd=tree.folder,
        env=tree.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        raise ComparisonError(
            f"uv {' '.join(arguments[:2])} in the tree of {tree.name} failed: {result.stderr.strip()}"
        )
