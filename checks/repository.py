"""The git repository as the checks read it: files of the work tree, old commits, and the base commit."""

import io
import re
import subprocess
import zipfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BASE_FILE = ".ci/commit-base"
_COMMIT_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class CheckError(Exception):
    """A check cannot run; the message says what to do about it."""


@dataclass(frozen=True)
class Repository:
    """Reads one clone with the git command; writes nothing to it."""

    root: Path = ROOT

    def run_git(self, *arguments: str) -> str:
        """Standard output of a git command.

        Raises:
            CheckError: the command failed; the message has its standard error.
        """
        return self._run(*arguments).decode(errors="replace")

    def _run(self, *arguments: str) -> bytes:
        result = self._start(*arguments)
        if result.returncode:
            raise CheckError(f"git {arguments[0]} failed: {result.stderr.decode(errors='replace').strip()}")
        return result.stdout

    def _start(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(["git", "-C", str(self.root), *arguments], capture_output=True, check=False)

    def has_commit(self, commit: str) -> bool:
        """Whether the clone contains this commit."""
        return self._start("cat-file", "-e", f"{commit}^{{commit}}").returncode == 0

    def _is_ancestor(self, commit: str) -> bool:
        return self._start("merge-base", "--is-ancestor", commit, "HEAD").returncode == 0

    def read_base(self) -> str:
        """The full ID of the commit in `.ci/commit-base`, an ancestor of HEAD.

        Raises:
            CheckError: the file has no commit ID, or the clone does not contain the history from that commit to HEAD.
        """
        path = self.root / BASE_FILE
        base = path.read_text().strip() if path.exists() else ""
        if not _COMMIT_ID.fullmatch(base):
            raise CheckError(f"{BASE_FILE} must contain one full commit ID; it contains '{base}'.")
        present = self.has_commit(base)
        if present and self._is_ancestor(base):
            return base
        if self.run_git("rev-parse", "--is-shallow-repository").strip() == "true":
            advice = "This clone is shallow, and its history does not reach it: fetch it with `git fetch --unshallow`."
        elif present:
            advice = "It is not an ancestor of HEAD: put one that is into the file."
        else:
            advice = "It is missing from this clone: fetch it with `git fetch origin`."
        raise CheckError(f"{BASE_FILE} names commit {base}. {advice}")

    def list_files(self) -> list[str]:
        """Paths of the work tree's files, tracked and new ones, without ignored and deleted ones."""
        listed = self.run_git("ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
        return sorted({path for path in listed if path and (self.root / path).is_file()})

    def read_file(self, commit: str, path: str) -> str | None:
        """The text of a file at a commit; None where the commit has no such file."""
        if not self.run_git("ls-tree", commit, "--", path):
            return None
        return self.run_git("show", f"{commit}:{path}")

    def export_commit(self, commit: str, folder: Path) -> None:
        """Write the files of a commit to `folder`."""
        with zipfile.ZipFile(io.BytesIO(self._run("archive", "--format=zip", commit))) as archive:
            archive.extractall(folder)
