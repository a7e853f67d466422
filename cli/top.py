"""Command `backburner top`: waiting and running responses by lane, tier, project and model, and the workers."""

import json
import time
from dataclasses import asdict

import click
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cli.opening import open_checked_core
from core.bootstrap import Core
from core.dispatch.waits.waits import Load, ResponseGroup, Wait
from core.jsonio import JsonObject
from core.log import escape_unprintable


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
    "--rows",
    "max_rows",
    default=30,
    show_default=True,
    type=click.IntRange(min=1),
    help="Maximum number of groups shown.",
)
def top(as_json: bool, watch: bool, interval_s: float, max_rows: int) -> None:
    """Show waiting and running responses, and workers.

    Also shows why responses wait, the workers' slots and the unavailable models. Responses are grouped by lane, tier,
    project and model; the groups with the most waiting responses come first. `oldest` is the age of the group's oldest
    waiting response. A draining worker was stopped: it claims no more responses. A model is unavailable if its circuit
    is open.
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
    load = core.waits.load()
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
            display.update(_load_tables(core.waits.load(), max_rows), refresh=True)
            time.sleep(interval_s)


def load_summary(load: Load) -> JsonObject:
    """The object that `--json` prints."""
    groups = [group for group, _ in load.groups]
    return {
        "groups": [_group_summary(group, wait) for group, wait in load.groups],
        "workers": [asdict(worker) for worker in load.workers],
        "circuits": [{"model": model, **asdict(circuit)} for model, circuit in load.circuits.items()],
        "unserved_lanes": load.unserved_lanes,
        "unknown_models": load.unknown_models,
        "waiting": sum(group.waiting for group in groups),
        "dispatched": sum(group.dispatched for group in groups),
        "running": sum(group.running for group in groups),
        "slots": sum(worker.slots for worker in load.workers),
    }


def _group_summary(group: ResponseGroup, wait: Wait | None) -> JsonObject:
    return {**asdict(group), "reason": wait and wait.reason, "waits_for": wait and wait.waits_for}


def _load_tables(load: Load, max_rows: int) -> Group:
    tables = [_group_table(load, max_rows), _worker_table(load)]
    if load.circuits:
        tables.append(_circuit_table(load))
    lane_warnings = [f"No worker serves lane {lane}." for lane in load.unserved_lanes]
    model_warnings = [_plain_text(f"No worker of its lane knows the model {model}.") for model in load.unknown_models]
    return Group(*tables, *lane_warnings, *model_warnings)


def _group_table(load: Load, max_rows: int) -> Table:
    counts = load_summary(load)
    title = (
        f"{counts['waiting']} waiting, {counts['dispatched']} dispatched, {counts['running']} running; "
        f"{counts['slots']} slots"
    )
    table = Table(title=title, title_justify="left")
    for name in ("lane", "tier", "project", "model"):
        table.add_column(name, overflow="fold")
    for name in ("waiting", "dispatched", "running", "oldest"):
        table.add_column(name, justify="right")
    table.add_column("waits for", overflow="fold")
    for group, wait in load.groups[:max_rows]:
        waiting_count = f"{group.waiting} ({group.later} later)" if group.later else str(group.waiting)
        names = (group.lane, group.tier, group.project, group.model)
        counts_and_age = (waiting_count, str(group.dispatched), str(group.running), _format_age(group.oldest_s))
        table.add_row(*names, *counts_and_age, _plain_text(wait.waits_for) if wait else "")
    if len(load.groups) > max_rows:
        table.caption = f"{len(load.groups) - max_rows} more"
    return table


def _worker_table(load: Load) -> Table:
    table = Table()
    for name in ("worker", "pid", "lanes"):
        table.add_column(name, overflow="fold")
    table.add_column("running", justify="right")
    for worker in load.workers:
        running = f"{worker.running}, draining" if worker.draining else f"{worker.running} of {worker.slots}"
        table.add_row(worker.id, str(worker.pid), ", ".join(worker.lanes), running)
    return table


def _circuit_table(load: Load) -> Table:
    table = Table()
    table.add_column("unavailable model", overflow="fold")
    table.add_column("failures", justify="right")
    table.add_column("next probe")
    table.add_column("cause", overflow="fold")
    for model, circuit in load.circuits.items():
        table.add_row(model, str(circuit.failures), circuit.next_probe, _plain_text(circuit.cause))
    return table


def _plain_text(text: str) -> Text:
    """Return a text that Rich prints literally: a text from a model server may look like Rich's markup."""
    return Text(escape_unprintable(text))


def _format_age(seconds: float | None) -> str:
    if seconds is None:
        return ""
    for unit, unit_s in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= unit_s:
            return f"{seconds / unit_s:.1f} {unit}"
    return f"{seconds:.0f} s"
