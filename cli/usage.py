"""Command `backburner projects usage`: reports from the usage ledger."""

import csv
import io
from datetime import datetime
from typing import Any

import click

from cli.opening import open_checked_core
from core import jsonio
from core.jsonio import JsonObject
from core.quota.ledger import GROUP_COLUMNS

_DAY_TYPE = click.DateTime(["%Y-%m-%d"])


class _ColumnsType(click.ParamType[tuple[str, ...]]):
    """Option type for a comma-separated list of columns."""

    name = "columns"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        names = tuple(dict.fromkeys(name.strip() for name in value.split(",") if name.strip()))
        unknown_names = [name for name in names if name not in GROUP_COLUMNS]
        if unknown_names:
            self.fail(f"'{unknown_names[0]}' is not one of {', '.join(GROUP_COLUMNS)}.", param, ctx)
        return names


@click.command()
@click.option("--project", help="Include only this project.")
@click.option("--since", type=_DAY_TYPE, help="First day (UTC) on which the responses ended.")
@click.option("--until", type=_DAY_TYPE, help="Last day (UTC), inclusive.")
@click.option(
    "--by",
    "columns",
    type=_ColumnsType(),
    default="project,model",
    show_default=True,
    help=f"Comma-separated columns to group by: {', '.join(GROUP_COLUMNS)}.",
)
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["table", "csv", "json"]),
    default="table",
    show_default=True,
    help="Output format.",
)
def usage(
    project: str | None, since: datetime | None, until: datetime | None, columns: tuple[str, ...], output_format: str
) -> None:
    """Report the usage of responses that have ended, including deleted ones, summed over all attempts.

    `estimated` is the number of responses with token counts that the model server did not report.
    """
    with open_checked_core() as core:
        if project is not None:
            core.keys.project(project)  # raises an error if the project does not exist
        rows = core.ledger.usage(columns, project=project, since=since and since.date(), until=until and until.date())
    output_rows = [{name: str(value) if name == "day" else value for name, value in row.items()} for row in rows]
    click.echo(
        {"table": _format_table, "csv": _format_csv, "json": jsonio.dumps}[output_format](output_rows),
        nl=output_format != "csv",
    )


def _format_csv(rows: list[JsonObject]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    if rows:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _format_table(rows: list[JsonObject]) -> str:
    if not rows:
        return "No usage."
    lines = [[name.replace("_", " ") for name in rows[0]], *[[str(cell) for cell in row.values()] for row in rows]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    is_number_column = [isinstance(cell, int) for cell in rows[0].values()]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if is_number else cell.ljust(width)
            for cell, width, is_number in zip(line, widths, is_number_column, strict=True)
        ).rstrip()
        for line in lines
    )
