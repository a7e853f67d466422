"""Reads commits: their IDs, subjects, bodies and numbers of changed lines of code."""

from dataclasses import dataclass
from pathlib import PurePosixPath

from checks.repository import Repository

_CODE_SUFFIXES = frozenset({".py", ".sh", ".sql"})
_CODE_FILES = frozenset({"Makefile", ".ci/run"})


@dataclass(frozen=True)
class Commit:
    """A commit; `body` does not include the subject, and is empty if the rest of the message has only trailers."""

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
    """Count the lines of code that a commit adds and deletes; moving an unchanged file counts as no lines."""
    fields = repository.run_git("show", "-z", "-M", "--numstat", "--format=", commit.id).split("\0")
    lines = 0
    while fields:
        field = fields.pop(0).lstrip("\n")
        if not field:
            continue
        additions, deletions, path = field.split("\t", 2)
        if not path:  # a rename: the old and the new path are the next two fields
            path = fields[1]
            del fields[:2]
        is_binary = additions == "-"
        if not is_binary and is_code_file(path):
            lines += int(additions) + int(deletions)
    return lines


def is_code_file(path: str) -> bool:
    """Whether this file contains code."""
    return path in _CODE_FILES or PurePosixPath(path).suffix in _CODE_SUFFIXES
