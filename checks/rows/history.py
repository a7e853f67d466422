"""Rows about commits, without limits: old commits cannot change, and `checks.commits` checks new ones."""

from checks.commit_log import read_commits
from checks.commits import SUBJECT_LENGTH
from checks.measure import Measure
from checks.repository import Repository


def measure_history(repository: Repository, commit: str) -> list[Measure]:
    """The rows about all commits up to `commit`, without merges."""
    commits = read_commits(repository, commit)
    empty = sum(not one.body for one in commits)
    long = sum(len(one.subject) > SUBJECT_LENGTH for one in commits)
    title = f"commits whose subject is longer than {SUBJECT_LENGTH} characters, %"
    return [
        Measure("empty_bodies", "commits without a body, %", _percent(empty, len(commits)), limited=False),
        Measure("long_subjects", title, _percent(long, len(commits)), limited=False),
    ]


def _percent(part: int, total: int) -> int | None:
    return round(100 * part / total) if total else None
