"""What operators ask of the usage ledger."""

import csv
import io
from datetime import datetime
from typing import Any

import click

from core import jsonio, settings
from core.bootstrap import open_core
from core.quota.ledger import BY

_DAY = click.DateTime(["%Y-%m-%d"])


class _Columns(click.ParamType[tuple[str, ...]]):
    name = "columns"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        names = tuple(dict.fromkeys(name.strip() for name in value.split(",") if name.strip()))
        unknown = [name for name in names if name not in BY]
        if unknown:
            self.fail(f"'{unknown[0]}' is none of {', '.join(BY)}.", param, ctx)
        return names


@click.command()
@click.option("--project", help="Only of this project.")
@click.option("--since", type=_DAY, help="The first day, of UTC, on which responses ended.")
@click.option("--until", type=_DAY, help="The last day.")
@click.option("--by", type=_Columns(), default="project,model", show_default=True, help=f"Of {', '.join(BY)}.")
@click.option(
    "--format", "form", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True, help="How."
)
def usage(project: str | None, since: datetime | None, until: datetime | None, by: tuple[str, ...], form: str) -> None:
    """Sum up what responses used that ended, over all their attempts, deleted ones, too.

    `estimated` is how many of them have tokens that the model server did not count.
    """
    with open_core(settings.load()) as core:
        core.schema.check()
        if project is not None:
            core.keys.project(project)
        rows = core.ledger.usage(by, project=project, since=since and since.date(), until=until and until.date())
    shown = [{name: str(value) if name == "day" else value for name, value in row.items()} for row in rows]
    click.echo({"table": _table, "csv": _csv, "json": jsonio.dumps}[form](shown), nl=form != "csv")


def _csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    if rows:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _table(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return "Nothing was used."
    lines = [[name.replace("_", " ") for name in rows[0]], *[[str(cell) for cell in row.values()] for row in rows]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    numbers = [isinstance(cell, int) for cell in rows[0].values()]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(line, widths, numbers, strict=True)
        ).rstrip()
        for line in lines
    )
