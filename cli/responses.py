"""Commands `backburner responses`, for the responses of all projects."""

import json
from dataclasses import asdict
from datetime import datetime
from typing import Any

import click

from cli.opening import opened
from cli.tail import Printer
from core import errors, jsonio
from core.log import printable
from core.responses.operations import Run, Shown
from core.wire.status import Status


@click.group()
def responses() -> None:
    """List, show, follow, cancel and requeue responses."""


@responses.command("list")
@click.option("--project", help="Show only responses of this project.")
@click.option(
    "--status", type=click.Choice([status.value for status in Status]), help="Show only responses with this status."
)
@click.option("--model", help="Show only responses of this model.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="Maximum rows.")
def list_responses(project: str | None, status: str | None, model: str | None, limit: int) -> None:
    """List responses, newest first."""
    with opened() as core:
        for shown in core.operations.newest(project=project, status=status, model=model, limit=limit):
            where = f"attempt {shown.attempt}" + (f" on {shown.worker_id}" if shown.worker_id else "")
            notes = [where] + ([shown.error] if shown.error else [])
            click.echo(
                f"{shown.id}  {shown.project}  {shown.model}  {shown.tier}  {shown.status}"
                f"  {_time(shown.created_at)}  {printable('; '.join(notes))}"
            )


@responses.command()
@click.argument("response_id")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show(response_id: str, as_json: bool) -> None:
    """Show a response and all of its attempts."""
    with opened() as core:
        shown, runs = core.operations.show(response_id)
    if as_json:
        click.echo(json.dumps({**asdict(shown), "attempts": [asdict(run) for run in runs]}, default=str))
        return
    for name, value in _facts(shown).items():
        click.echo(f"{name:<14}{printable(str(value))}")
    for run in runs:
        click.echo(f"{f'attempt {run.attempt}':<14}{printable(_run(run))}")


@responses.command()
@click.argument("response_id")
def tail(response_id: str) -> None:
    """Print the output of a response from the beginning, follow it as it grows, and print how it ends.

    The exit status is 0 if the response completed, and 1 otherwise. Ctrl-C stops the command, not the response.
    """
    with opened() as core:
        core.operations.show(response_id)
        printer = Printer()
        try:
            for events in core.streams.read(response_id, beat_s=core.settings.ping_s):
                for event in events:
                    printer.add(jsonio.loads(event))
        except KeyboardInterrupt:
            click.echo()
            raise click.exceptions.Exit(130) from None
    raise click.exceptions.Exit(0 if printer.status == Status.COMPLETED else 1)


@responses.command()
@click.argument("response_ids", nargs=-1, required=True)
def cancel(response_ids: tuple[str, ...]) -> None:
    """Cancel responses immediately, including foreground responses.

    A cancellation cannot be undone.
    """
    with opened() as core:
        failed = False
        for response_id in response_ids:
            try:
                done = core.operations.cancel(response_id)
                click.echo(f"{response_id} is cancelled." if done else f"{response_id} had already ended; not changed.")
            except errors.Error as error:
                failed = _say(error)
    if failed:
        raise click.exceptions.Exit(1)


@responses.command()
@click.argument("response_ids", nargs=-1, required=True)
@click.option("--project", help="Reject responses of other projects.")
def requeue(response_ids: tuple[str, ...], project: str | None) -> None:
    """Run responses again that failed, were cancelled or are incomplete.

    Each one gets a new response, which runs in the background with the same request, context, project and tier. The
    old response does not change. Prints one line per response: `NEW_ID (from OLD_ID)`.
    """
    with opened() as core:
        failed = False
        for response_id in response_ids:
            try:
                click.echo(f"{core.operations.requeue(response_id, project=project)} (from {response_id})")
            except errors.Error as error:
                failed = _say(error)
    if failed:
        raise click.exceptions.Exit(1)


def _say(error: errors.Error) -> bool:
    click.echo(f"Error: {error}", err=True)
    return True


def _facts(shown: Shown) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "id": shown.id,
        "project": shown.project,
        "status": shown.status,
        "model": shown.model,
        "tier": shown.tier,
        "kind": "background" if shown.background else "foreground",
        "error": shown.error,
        "created": _time(shown.created_at),
        "started": _time(shown.started_at),
        "ended": _time(shown.finished_at),
        "lost": f"{shown.failures} times" if shown.failures else None,
        "waited": f"{shown.waits} times for its model server" if shown.waits else None,
        "requeued from": shown.requeued_from,
        "requeued as": ", ".join(shown.requeued_as),
    }
    if shown.status == Status.QUEUED:
        facts |= {"dispatched": "yes" if shown.dispatched else "no", "due": _time(shown.available_at)}
        facts |= {"queued until": _time(shown.queued_until), "ends by": _time(shown.ends_by)}
    if shown.status == Status.IN_PROGRESS:
        facts |= {"worker": shown.worker_id, "run until": _time(shown.run_until), "ends by": _time(shown.ends_by)}
    return {name: value for name, value in facts.items() if value}


def _run(run: Run) -> str:
    took = f", {(run.ended_at - run.started_at).total_seconds():.1f} s" if run.ended_at else ""
    used = "" if run.output_tokens is None else f", {run.input_tokens} + {run.output_tokens} tokens"
    cause = f": {run.cause}" if run.cause else ""
    used += f", without the {len(run.dropped)} oldest items" if run.dropped else ""
    return f"{_time(run.started_at)}{took} on {run.worker_id}{used}, {run.outcome or 'in progress'}{cause}"


def _time(value: datetime | None) -> str | None:
    return None if value is None else f"{value:%Y-%m-%d %H:%M:%S}"
