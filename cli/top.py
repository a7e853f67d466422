"""Command `backburner top`: waiting and running responses by lane, tier, project and model, and the workers."""

import json
import time
from dataclasses import asdict

import click
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from cli.opening import open_checked_core
from core.bootstrap import Core
from core.jsonio import JsonObject
from core.responses.operations import Load


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object; with --watch, JSON Lines.")
@click.option("--watch", is_flag=True, help="Refresh until Ctrl-C.")
@click.option(
    "--every",
    "interval_s",
    default=2.0,
    show_default=True,
    type=click.FloatRange(min=0.1),
    help="Refresh interval of --watch in seconds.",
)
@click.option(
    "--rows", "max_rows", default=30, show_default=True, type=click.IntRange(min=1), help="Maximum groups shown."
)
def top(as_json: bool, watch: bool, interval_s: float, max_rows: int) -> None:
    """Show waiting and running responses and the slots of the workers.

    Responses are grouped by lane, tier, project and model; the groups with the most waiting responses come first.
    `oldest` is the age of the group's oldest waiting response.
    """
    with open_checked_core() as core:
        if not watch:
            _print_load(core, as_json, max_rows)
            return
        try:
            _watch_load(core, as_json, interval_s, max_rows)
        except KeyboardInterrupt:
            raise click.exceptions.Exit(130) from None


def _print_load(core: Core, as_json: bool, max_rows: int) -> None:
    load = core.operations.load()
    if as_json:
        click.echo(json.dumps(load_summary(load)))
    else:
        Console().print(_load_tables(load, max_rows))


def _watch_load(core: Core, as_json: bool, interval_s: float, max_rows: int) -> None:
    if as_json or not Console().is_terminal:
        while True:
            _print_load(core, as_json, max_rows)
            time.sleep(interval_s)
    with Live(screen=True, auto_refresh=False) as display:
        while True:
            display.update(_load_tables(core.operations.load(), max_rows), refresh=True)
            time.sleep(interval_s)


def load_summary(load: Load) -> JsonObject:
    """The object that `--json` prints."""
    return {
        "groups": [asdict(group) for group in load.groups],
        "workers": [asdict(worker) for worker in load.workers],
        "unserved_lanes": sorted(load.unserved),
        "waiting": sum(group.waiting for group in load.groups),
        "dispatched": sum(group.dispatched for group in load.groups),
        "running": sum(group.running for group in load.groups),
        "slots": sum(worker.slots for worker in load.workers),
    }


def _load_tables(load: Load, max_rows: int) -> Group:
    counts = load_summary(load)
    title = (
        f"{counts['waiting']} waiting, {counts['dispatched']} dispatched, {counts['running']} running; "
        f"{counts['slots']} slots"
    )
    groups = Table(title=title, title_justify="left")
    for name in ("lane", "tier", "project", "model"):
        groups.add_column(name, overflow="fold")
    for name in ("waiting", "dispatched", "running", "oldest"):
        groups.add_column(name, justify="right")
    for group in load.groups[:max_rows]:
        waiting_text = f"{group.waiting} ({group.later} later)" if group.later else str(group.waiting)
        names = (group.lane, group.tier, group.project, group.model)
        groups.add_row(*names, waiting_text, str(group.dispatched), str(group.running), _format_age(group.oldest_s))
    if len(load.groups) > max_rows:
        groups.caption = f"{len(load.groups) - max_rows} more"
    workers = Table()
    for name in ("worker", "pid", "lanes"):
        workers.add_column(name, overflow="fold")
    workers.add_column("running", justify="right")
    for worker in load.workers:
        workers.add_row(
            worker.hostname, str(worker.pid), ", ".join(worker.lanes), f"{worker.running} of {worker.slots}"
        )
    warnings = [f"No worker serves lane {lane}." for lane in sorted(load.unserved)]
    return Group(groups, workers, *warnings)


def _format_age(seconds: float | None) -> str:
    if seconds is None:
        return ""
    for unit, unit_s in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= unit_s:
            return f"{seconds / unit_s:.1f} {unit}"
    return f"{seconds:.0f} s"
