"""`python -m checks.measures`: prints the code metrics, compares them with their limits, or sets the limits."""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from checks import limits
from checks.measure import Measure
from checks.repository import ROOT, CheckError, Repository
from checks.rows.definitions import measure_definitions
from checks.rows.functions import measure_functions
from checks.rows.history import measure_history
from checks.rows.layout import measure_layout
from checks.rows.names import measure_names
from checks.rows.statements import measure_statements
from checks.tree import Tree, read_folder

ROWS = (measure_layout, measure_functions, measure_statements, measure_definitions, measure_names)


def measure_tree(tree: Tree) -> list[Measure]:
    """The measures of a tree, except those of its history."""
    return [measure for rows in ROWS for measure in rows(tree)]


def measure_work_tree(repository: Repository) -> list[Measure]:
    """The measures of the work tree, including uncommitted changes, except those of its history."""
    return measure_tree(Tree(repository.root, tuple(repository.list_files())))


def measure_commit(repository: Repository, commit: str) -> list[Measure]:
    """The measures of a commit and its history. No code of the commit is executed.

    Raises:
        CheckError: the clone does not contain the commit, or its tree cannot be measured.
    """
    if not repository.has_commit(commit):
        raise CheckError(f"Commit {commit} is missing from this clone.")
    with tempfile.TemporaryDirectory() as folder:
        repository.export_commit(commit, Path(folder))
        return measure_tree(read_folder(Path(folder))) + measure_history(repository, commit)


def check_limits(repository: Repository, found: Sequence[Measure]) -> list[str]:
    """One message for each value above its limit, and for each limit above the one at the base commit."""
    base = repository.read_base()
    current = limits.read_limits(repository)
    exceeded = limits.find_exceeded(found, current)
    # Measure the base commit only on failure, because it takes as long as the check itself.
    of_base = measure_commit(repository, base) if exceeded else []
    base_text = repository.read_file(base, limits.FILE)
    return [
        *(limits.describe_exceeded(one, current[one.key], of_base) for one in exceeded),
        *limits.find_unmatched(found, current),
        *limits.find_raised(current, limits.parse_limits(base_text) if base_text else {}),
    ]


def _show_table(measures: Sequence[Measure], of_base: Sequence[Measure], current: limits.Limits) -> None:
    table = Table("measure", "key", box=None, pad_edge=False)
    for column in ("goal", "limit", "now", *(["base"] if of_base else [])):
        table.add_column(column, justify="right")
    base_values = {one.key: one.value for one in of_base}
    for one in measures:
        base = [base_values.get(one.key)] if of_base else []
        values = (one.goal, current.get(one.key), one.value, *base)
        table.add_row(one.title, one.key, *("-" if value is None else str(value) for value in values))
    console = Console(highlight=False, markup=False)
    # A pipe has no width; 150 columns are enough for every title.
    console.width = console.width if console.is_terminal else 150
    console.print(table)


def _report_check(repository: Repository) -> None:
    """Exit with a message for each violated limit, or print the limits that can be lowered."""
    found = measure_work_tree(repository)
    messages = check_limits(repository, found)
    if messages:
        sys.exit("\n".join(messages))
    current = limits.read_limits(repository)
    for one in limits.find_lowerable(found, current):
        click.echo(f"The limit {one.key} = {current[one.key]} can be lowered to {one.value}: make measures LOWER=1")
    click.echo(f"All {len(current)} measures of the code are within their limits.")


@click.command()
@click.option("--base", metavar="COMMIT", help="Also show the measures of this commit.")
@click.option("--check", is_flag=True, help="Compare the values with their limits instead of printing a table.")
@click.option("--lower", is_flag=True, help="Lower limits that are above the current values.")
@click.option("--write", is_flag=True, help="Set all limits to the current values.")
@click.option(
    "--root",
    default=ROOT,
    type=click.Path(path_type=Path, resolve_path=True),
    help="Clone to measure.  [default: the one that contains this file]",
)
def main(*, base: str | None, check: bool, lower: bool, write: bool, root: Path) -> None:
    """Print the code metrics of the work tree."""
    repository = Repository(root)
    try:
        if check:
            _report_check(repository)
            return
        found = measure_work_tree(repository)
        if write:
            limits.write_limits(repository, limits.set_limits(found))
        elif lower:
            limits.write_limits(repository, limits.lower_limits(found, limits.read_limits(repository)))
        of_base = measure_commit(repository, base) if base else []
        found += measure_history(repository, "HEAD")
        _show_table(found, of_base, limits.read_limits(repository))
    except CheckError as error:
        sys.exit(f"The code cannot be measured. {error}")


if __name__ == "__main__":
    main()
