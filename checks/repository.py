"""Reads a git repository: the files of the work tree, old commits and the base commit."""

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
    """A check cannot run; the message contains the reason."""


@dataclass(frozen=True)
class Repository:
    """Reads a clone with the git command; never writes to it."""

    root: Path = ROOT

    def run_git(self, *arguments: str) -> str:
        """Run a git command and return its standard output.

        Raises:
            CheckError: the command failed; the message contains its standard error.
        """
        return self._read_git_output(*arguments).decode(errors="replace")

    def _read_git_output(self, *arguments: str) -> bytes:
        result = self._run_git_process(*arguments)
        if result.returncode:
            raise CheckError(f"git {arguments[0]} failed: {result.stderr.decode(errors='replace').strip()}")
        return result.stdout

    def _run_git_process(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(["git", "-C", str(self.root), *arguments], capture_output=True, check=False)

    def has_commit(self, commit: str) -> bool:
        """Whether the clone contains this commit."""
        return self._run_git_process("cat-file", "-e", f"{commit}^{{commit}}").returncode == 0

    def _is_ancestor(self, commit: str) -> bool:
        return self._run_git_process("merge-base", "--is-ancestor", commit, "HEAD").returncode == 0

    def read_base(self) -> str:
        """Read the full ID of the base commit, which is an ancestor of HEAD, from `.ci/commit-base`.

        Raises:
            CheckError: the file contains no commit ID, or the clone does not contain all commits from it to HEAD.
        """
        path = self.root / BASE_FILE
        base = path.read_text().strip() if path.exists() else ""
        if not _COMMIT_ID.fullmatch(base):
            raise CheckError(f"{BASE_FILE} must contain one full commit ID; it contains '{base}'.")
        is_present = self.has_commit(base)
        if is_present and self._is_ancestor(base):
            return base
        if self.run_git("rev-parse", "--is-shallow-repository").strip() == "true":
            advice = "This clone is shallow and does not contain its history. Run `git fetch --unshallow`."
        elif is_present:
            advice = "This commit is not an ancestor of HEAD. Write the ID of an ancestor to the file."
        else:
            advice = "This commit is missing from this clone. Run `git fetch origin`."
        raise CheckError(f"{BASE_FILE} names commit {base}. {advice}")

    def list_files(self) -> list[str]:
        """List the paths of tracked and new files of the work tree, without ignored and deleted files."""
        paths = self.run_git("ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
        return sorted({path for path in paths if path and (self.root / path).is_file()})

    def read_file(self, commit: str, path: str) -> str | None:
        """Read the text of a file at a commit; return None if the commit does not contain the file."""
        if not self.run_git("ls-tree", commit, "--", path):
            return None
        return self.run_git("show", f"{commit}:{path}")

    def export_commit(self, commit: str, folder: Path) -> None:
        """Write the files of a commit to `folder`."""
        with zipfile.ZipFile(io.BytesIO(self._read_git_output("archive", "--format=zip", commit))) as archive:
            archive.extractall(folder)
