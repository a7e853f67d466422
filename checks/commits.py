"""`python -m checks.commits`: checks the messages of the commits since the one in `.ci/commit-base`."""

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from checks.commit_log import Commit, count_code_lines, read_commits
from checks.repository import ROOT, CheckError, Repository

SUBJECT_LENGTH = 72
# Lines of code that a commit may change without a body.
CODE_LINES = 20


def check_commits(repository: Repository) -> list[str]:
    """One message for each commit that violates a rule, newest first.

    Raises:
        CheckError: the base commit is invalid, or this clone does not contain all of the commits.
    """
    base = repository.read_base()
    faults = ((commit, list(_find_faults(repository, commit))) for commit in read_commits(repository, f"{base}..HEAD"))
    return [f"{commit.id[:12]} {commit.subject}\n    {'; '.join(found)}" for commit, found in faults if found]


def _find_faults(repository: Repository, commit: Commit) -> Iterator[str]:
    if len(commit.subject) > SUBJECT_LENGTH:
        yield f"the subject has {len(commit.subject)} characters; at most {SUBJECT_LENGTH} are allowed"
    if not commit.body and (lines := count_code_lines(repository, commit)) > CODE_LINES:
        yield f"{lines} lines of code change (more than {CODE_LINES}), and there is no body that gives the reason"


@click.command()
@click.option(
    "--root",
    default=ROOT,
    type=click.Path(path_type=Path, resolve_path=True),
    help="Clone to check.  [default: the one that contains this file]",
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
