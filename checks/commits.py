"""`python -m checks.commits`: checks the messages of the commits since the base commit (`.ci/commit-base`)."""

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from checks.commit_log import Commit, count_code_lines, read_commits
from checks.repository import ROOT, CheckError, Repository

MAX_SUBJECT_LENGTH = 72
# Maximum number of code lines that a commit without a body may change.
MAX_CODE_LINES = 20


def check_commits(repository: Repository) -> list[str]:
    """Return one message for each commit that violates a rule, newest first.

    Raises:
        CheckError: the base commit is invalid, or this clone does not contain all commits since then.
    """
    base = repository.read_base()
    messages = []
    for commit in read_commits(repository, f"{base}..HEAD"):
        faults = list(_find_faults(repository, commit))
        if faults:
            messages.append(f"{commit.id[:12]} {commit.subject}\n    {'; '.join(faults)}")
    return messages


def _find_faults(repository: Repository, commit: Commit) -> Iterator[str]:
    if len(commit.subject) > MAX_SUBJECT_LENGTH:
        yield f"the subject has {len(commit.subject)} characters; at most {MAX_SUBJECT_LENGTH} are allowed"
    if not commit.body and (lines := count_code_lines(repository, commit)) > MAX_CODE_LINES:
        yield f"{lines} lines of code change (more than {MAX_CODE_LINES}), and there is no body that gives the reason"


@click.command()
@click.option(
    "--root",
    default=ROOT,
    type=click.Path(path_type=Path, resolve_path=True),
    help="Clone to check.  [default: the clone that contains this program]",
)
def main(*, root: Path) -> None:
    """Check the messages of the commits since the base commit."""
    try:
        messages = check_commits(Repository(root))
    except CheckError as error:
        sys.exit(f"Commits cannot be checked. {error}")
    if messages:
        advice = "Reword them with `git rebase -i`."
        sys.exit("\n".join(["Commits that violate the rules of CONTRIBUTING.md:", *messages, advice]))


if __name__ == "__main__":
    main()
