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

ROW_FUNCTIONS = (measure_layout, measure_functions, measure_statements, measure_definitions, measure_names)


def measure_tree(tree: Tree) -> list[Measure]:
    """Compute the measures of a tree, without the measures of its commits."""
    return [measure for measure_rows in ROW_FUNCTIONS for measure in measure_rows(tree)]


def measure_work_tree(repository: Repository) -> list[Measure]:
    """Compute the measures of the work tree with its uncommitted changes, without the measures of commits."""
    return measure_tree(Tree(repository.root, tuple(repository.list_files())))


def measure_commit(repository: Repository, commit: str) -> list[Measure]:
    """Compute the measures of the tree of a commit and of all commits up to it, without executing code of the commit.

    Raises:
        CheckError: the clone does not contain the commit, or its tree cannot be measured.
    """
    if not repository.has_commit(commit):
        raise CheckError(f"Commit {commit} is missing from this clone.")
    with tempfile.TemporaryDirectory() as folder:
        repository.export_commit(commit, Path(folder))
        return measure_tree(read_folder(Path(folder))) + measure_history(repository, commit)


def check_limits(repository: Repository, measures: Sequence[Measure]) -> list[str]:
    """Return one message for each value above its limit, unmatched limit, and limit higher than at the base commit."""
    base = repository.read_base()
    current_limits = limits.read_limits(repository)
    exceeded = limits.find_measures_above_limit(measures, current_limits)
    # Measure the base commit only if a limit is exceeded, because that takes as long as the check itself.
    base_measures = measure_commit(repository, base) if exceeded else []
    base_text = repository.read_file(base, limits.FILE)
    return [
        *(limits.describe_exceeded_limit(measure, current_limits[measure.key], base_measures) for measure in exceeded),
        *limits.find_unmatched_limits(measures, current_limits),
        *limits.find_raised_limits(current_limits, limits.parse_limits(base_text) if base_text else {}),
    ]


def _show_table(measures: Sequence[Measure], base_measures: Sequence[Measure], current_limits: limits.Limits) -> None:
    table = Table("measure", "key", box=None, pad_edge=False)
    for column in ("goal", "limit", "now", *(["base"] if base_measures else [])):
        table.add_column(column, justify="right")
    base_values = {measure.key: measure.value for measure in base_measures}
    for measure in measures:
        base_cells = [base_values.get(measure.key)] if base_measures else []
        values = (measure.goal, current_limits.get(measure.key), measure.value, *base_cells)
        table.add_row(measure.title, measure.key, *("-" if value is None else str(value) for value in values))
    console = Console(highlight=False, markup=False)
    # Output to a file has no width; every row of the table fits into 150 columns.
    console.width = console.width if console.is_terminal else 150
    console.print(table)


def _report_check(repository: Repository) -> None:
    """Exit with a message for each violated limit, or print the limits that can be lowered."""
    measures = measure_work_tree(repository)
    messages = check_limits(repository, measures)
    if messages:
        sys.exit("\n".join(messages))
    current_limits = limits.read_limits(repository)
    for measure in limits.find_measures_below_limit(measures, current_limits):
        limit = f"{measure.key} = {current_limits[measure.key]}"
        click.echo(f"The limit {limit} can be lowered to {measure.value}: make measures LOWER=1")
    click.echo(f"All {len(current_limits)} measures of the code are within their limits.")


@click.command()
@click.option("--base", metavar="COMMIT", help="Also show the measures of this commit.")
@click.option("--check", is_flag=True, help="Compare the values with their limits instead of printing a table.")
@click.option("--lower", is_flag=True, help="Lower each limit that is above its current value.")
@click.option("--write", is_flag=True, help="Set all limits to the current values.")
@click.option(
    "--root",
    default=ROOT,
    type=click.Path(path_type=Path, resolve_path=True),
    help="Clone to measure.  [default: the clone that contains this program]",
)
def main(*, base: str | None, check: bool, lower: bool, write: bool, root: Path) -> None:
    """Print the code metrics of the work tree."""
    repository = Repository(root)
    try:
        if check:
            _report_check(repository)
            return
        measures = measure_work_tree(repository)
        if write:
            limits.write_limits(repository, limits.build_limits(measures))
        elif lower:
            limits.write_limits(repository, limits.lower_limits(measures, limits.read_limits(repository)))
        base_measures = measure_commit(repository, base) if base else []
        measures += measure_history(repository, "HEAD")
        _show_table(measures, base_measures, limits.read_limits(repository))
    except CheckError as error:
        sys.exit(f"The code cannot be measured. {error}")


if __name__ == "__main__":
    main()
