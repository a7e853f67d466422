"""Rows about commit messages. They have no limits, because `checks.commits` checks the new commits."""

from checks.commit_log import read_commits
from checks.commits import MAX_SUBJECT_LENGTH
from checks.measure import Measure
from checks.repository import Repository


def measure_history(repository: Repository, commit: str) -> list[Measure]:
    """Compute the rows about all commits up to `commit`, without merges."""
    commits = read_commits(repository, commit)
    empty_body_count = sum(not entry.body for entry in commits)
    long_subject_count = sum(len(entry.subject) > MAX_SUBJECT_LENGTH for entry in commits)
    title = f"commits whose subject is longer than {MAX_SUBJECT_LENGTH} characters, %"
    return [
        Measure(
            "empty_bodies", "commits without a body, %", _percent(empty_body_count, len(commits)), is_limited=False
        ),
        Measure("long_subjects", title, _percent(long_subject_count, len(commits)), is_limited=False),
    ]


def _percent(part: int, total: int) -> int | None:
    return round(100 * part / total) if total else None
