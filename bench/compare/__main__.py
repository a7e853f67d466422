"""`make compare`: checks out two commits as worktrees, benchmarks them alternately, and fails if HEAD is worse."""

import sys
from collections.abc import Callable

import click
from rich.console import Console

from bench.compare import report, trees
from bench.compare.budget import Budget
from bench.compare.comparison import Comparison
from bench.compare.rounds import BASE, HEAD
from bench.compare.trees import ComparisonError, Repository, Tree
from local.servers import packages

FOLDER = packages.ROOT / ".bench-compare"
_BUDGET_MINUTES = {"quick": 10, "full": 45}


@click.command()
@click.option("--quick", is_flag=True, help="Run fewer and smaller measurements; takes ten minutes instead of 45.")
@click.option("--only", multiple=True, help="Run only this measure of the benchmark; can be repeated.")
@click.option("--head", "head_revision", default="HEAD", show_default=True, help="Commit to compare with BASE.")
@click.argument("base_revision", metavar="BASE")
def main(base_revision: str, head_revision: str, only: tuple[str, ...], *, quick: bool) -> None:
    """Compare the benchmarks of the commits BASE and HEAD.

    The exit status is 1 if a row of HEAD is worse, or looks worse and could not be measured again, or if a measurement
    failed.
    """
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 170
    size = "quick" if quick else "full"
    budget = Budget(60 * _BUDGET_MINUTES[size])
    repository = Repository(packages.ROOT)
    try:
        base = repository.find_tree(BASE, base_revision, FOLDER / BASE)
        head = repository.find_tree(HEAD, head_revision, FOLDER / HEAD)
        with trees.lock_folder(FOLDER), repository.open_worktrees(base, head):
            for tree in (base, head):
                trees.install(tree)
            console.print(f"Installed both trees in {budget.elapsed_s:.0f} s.")
            tree_by_name = {BASE: base, HEAD: head}
            outcome = Comparison(tree_by_name, size, budget, FOLDER, _create_printer(console)).run(only)
    except ComparisonError as error:
        raise click.ClickException(str(error)) from error
    outcome.notes += _find_notes(repository, base, head)
    report.show(base, head, outcome, console)
    report.write(base, head, outcome, quick=quick, seconds=budget.elapsed_s)
    console.print(f"Took {budget.elapsed_s:.0f} s. Written: {report.PATH.relative_to(packages.ROOT)}")
    if not outcome.is_success:
        sys.exit(1)


def _create_printer(console: Console) -> Callable[[str], None]:
    return lambda text: console.print(text, markup=False)


def _find_notes(repository: Repository, base: Tree, head: Tree) -> list[str]:
    """Return notes about circumstances that affect the interpretation of the figures."""
    notes = []
    if paths := repository.changed_paths(base, head, "bench"):
        notes.append(f"The benchmark itself differs between the trees: {', '.join(paths)}")
    if repository.has_uncommitted_changes():
        notes.append("Uncommitted changes in the checkout were not measured.")
    return notes


if __name__ == "__main__":
    main()
