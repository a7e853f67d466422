"""Reads commits: subject, body and the number of changed lines of code."""

from dataclasses import dataclass
from pathlib import PurePosixPath

from checks.repository import Repository

_CODE_SUFFIXES = frozenset({".py", ".sh", ".sql"})
_CODE_FILES = frozenset({"Makefile", ".ci/run"})


@dataclass(frozen=True)
class Commit:
    """A commit; `body` excludes the subject, and is empty if it consists only of trailers."""

    id: str
    subject: str
    body: str


def read_commits(repository: Repository, revisions: str) -> list[Commit]:
    """Read the commits that `git log` lists for a revision range, newest first, without merges."""
    log = repository.run_git("log", "-z", "--no-merges", "--format=%H%x01%s%x01%b%x01%(trailers)", revisions)
    return [_parse_entry(entry) for entry in log.split("\0") if entry]


def _parse_entry(entry: str) -> Commit:
    commit_id, subject, body, trailers = entry.split("\x01", 3)
    has_only_trailers = body.strip() == trailers.strip()
    return Commit(commit_id, subject, "" if has_only_trailers else body.strip())


def count_code_lines(repository: Repository, commit: Commit) -> int:
    """Count the lines of code that a commit adds and deletes; a file that is only moved has no such lines."""
    fields = repository.run_git("show", "-z", "-M", "--numstat", "--format=", commit.id).split("\0")
    lines = 0
    while fields:
        additions, deletions, path = (fields.pop(0).lstrip("\n") or "-\t-\t-").split("\t", 2)
        if not path:  # a rename: the old and the new path are the next two fields
            path = fields[1]
            del fields[:2]
        if additions != "-" and is_code(path):
            lines += int(additions) + int(deletions)
    return lines


def is_code(path: str) -> bool:
    """Whether changes of this file are changes of code."""
    return path in _CODE_FILES or PurePosixPath(path).suffix in _CODE_SUFFIXES
