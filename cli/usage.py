"""Command `backburner projects usage`: reports from the usage ledger."""

import csv
import io
from datetime import datetime
from typing import Any

import click

from cli.opening import opened
from core import jsonio
from core.quota.ledger import BY

_DAY = click.DateTime(["%Y-%m-%d"])


class _Columns(click.ParamType[tuple[str, ...]]):
    name = "columns"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        names = tuple(dict.fromkeys(name.strip() for name in value.split(",") if name.strip()))
        unknown = [name for name in names if name not in BY]
        if unknown:
            self.fail(f"'{unknown[0]}' is not one of {', '.join(BY)}.", param, ctx)
        return names


@click.command()
@click.option("--project", help="Include only this project.")
@click.option("--since", type=_DAY, help="First day (UTC) on which the responses ended.")
@click.option("--until", type=_DAY, help="Last day (UTC), inclusive.")
@click.option(
    "--by",
    type=_Columns(),
    default="project,model",
    show_default=True,
    help=f"Comma-separated columns to group by: {', '.join(BY)}.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json"]),
    default="table",
    show_default=True,
    help="Output format.",
)
def usage(project: str | None, since: datetime | None, until: datetime | None, by: tuple[str, ...], form: str) -> None:
    """Report the usage of responses that have ended, including deleted ones, summed over all attempts.

    `estimated` is the number of responses with token counts that the model server did not report.
    """
    with opened() as core:
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
        return "No usage."
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
