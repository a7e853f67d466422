"""The command group `backburner responses`, for the responses of all projects."""

import json
from dataclasses import asdict
from datetime import datetime

import click

from cli.opening import open_checked_core
from cli.tail import Printer
from core import errors, jsonio
from core.dispatch.waits.waits import Wait
from core.jsonio import JsonObject
from core.log import escape_unprintable
from core.responses.operations import AttemptDetails, ResponseDetails
from core.wire.status import Status


@click.group()
def responses() -> None:
    """List, show, tail, cancel and requeue responses."""


@responses.command("list")
@click.option("--project", help="Show only responses of this project.")
@click.option(
    "--status", type=click.Choice([status.value for status in Status]), help="Show only responses with this status."
)
@click.option("--model", help="Show only responses of this model.")
@click.option(
    "--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="Maximum number of responses."
)
def list_responses(project: str | None, status: str | None, model: str | None, limit: int) -> None:
    """List responses, newest first."""
    with open_checked_core() as core:
        for response in core.operations.list_newest(project=project, status=status, model=model, limit=limit):
            location = f"attempt {response.attempt}" + (f" on {response.worker_id}" if response.worker_id else "")
            notes = [location] + ([response.error] if response.error else [])
            click.echo(
                f"{response.id}  {response.project}  {response.model}  {response.tier}  {response.status}"
                f"  {_format_time(response.created_at)}  {escape_unprintable('; '.join(notes))}"
            )


@responses.command("show")
@click.argument("response_id")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show_response(response_id: str, as_json: bool) -> None:
    """Show a response, what it waits for if it is queued, and all of its attempts."""
    with open_checked_core() as core:
        response, attempts = core.operations.show(response_id)
        wait = core.waits.explain(response_id)
    if as_json:
        fields = asdict(response) | {"reason": wait and wait.reason, "waits_for": wait and wait.waits_for}
        fields["attempts"] = [asdict(attempt) for attempt in attempts]
        click.echo(json.dumps(fields, default=str))
        return
    for name, value in _response_fields(response, wait).items():
        click.echo(f"{name:<14}{escape_unprintable(str(value))}")
    for attempt in attempts:
        click.echo(f"{f'attempt {attempt.attempt}':<14}{escape_unprintable(_describe_attempt(attempt))}")


@responses.command("tail")
@click.argument("response_id")
def tail_response(response_id: str) -> None:
    """Print the output of a response from the beginning, follow it as it grows, and print how it ends.

    The exit status is 0 if the response completed, and 1 otherwise. Ctrl-C stops the command, not the response.
    """
    with open_checked_core() as core:
        core.operations.show(response_id)  # fails if the response does not exist
        printer = Printer()
        try:
            for events in core.streams.read(response_id, heartbeat_s=core.settings.ping_s):
                for event in events:
                    printer.print_event(jsonio.loads(event))
        except KeyboardInterrupt:
            click.echo()
            raise click.exceptions.Exit(130) from None
    raise click.exceptions.Exit(0 if printer.status == Status.COMPLETED else 1)


@responses.command("cancel")
@click.argument("response_ids", nargs=-1, required=True)
def cancel_responses(response_ids: tuple[str, ...]) -> None:
    """Cancel responses immediately, including foreground responses.

    A cancellation cannot be undone.
    """
    with open_checked_core() as core:
        has_failed = False
        for response_id in response_ids:
            try:
                was_cancelled = core.operations.cancel(response_id)
                outcome = "is cancelled." if was_cancelled else "had already ended; not changed."
                click.echo(f"{response_id} {outcome}")
            except errors.Error as error:
                _print_error(error)
                has_failed = True
    if has_failed:
        raise click.exceptions.Exit(1)


@responses.command("requeue")
@click.argument("response_ids", nargs=-1, required=True)
@click.option("--project", help="Reject responses that belong to other projects.")
def requeue_responses(response_ids: tuple[str, ...], project: str | None) -> None:
    """Create new responses from responses that failed, were cancelled or are incomplete.

    A new response runs in the background with the same request, context, project and tier. The old response does not
    change. Prints one line per response: `NEW_ID (from OLD_ID)`.
    """
    with open_checked_core() as core:
        has_failed = False
        for response_id in response_ids:
            try:
                click.echo(f"{core.operations.requeue(response_id, project=project)} (from {response_id})")
            except errors.Error as error:
                _print_error(error)
                has_failed = True
    if has_failed:
        raise click.exceptions.Exit(1)


def _print_error(error: errors.Error) -> None:
    click.echo(f"Error: {error}", err=True)


def _response_fields(response: ResponseDetails, wait: Wait | None) -> JsonObject:
    fields: JsonObject = {
        "id": response.id,
        "project": response.project,
        "status": response.status,
        "model": response.model,
        "tier": response.tier,
        "lane": response.lane,
        "kind": "background" if response.background else "foreground",
        "error": response.error,
        "created": _format_time(response.created_at),
        "started": _format_time(response.started_at),
        "ended": _format_time(response.finished_at),
        "lost": f"{response.failures} times" if response.failures else None,
        "waited": f"{response.waits} times for its model server" if response.waits else None,
        "requeued from": response.requeued_from,
        "requeued as": ", ".join(response.requeued_as),
    }
    if wait is not None:
        fields |= {"waits for": wait.waits_for, "reason": wait.reason}
    if response.status == Status.QUEUED:
        fields |= {"dispatched": "yes" if response.dispatched else "no", "due": _format_time(response.available_at)}
        fields |= {"queued until": _format_time(response.queued_until), "ends by": _format_time(response.ends_by)}
    if response.status == Status.IN_PROGRESS:
        fields |= {
            "worker": response.worker_id,
            "run until": _format_time(response.run_until),
            "ends by": _format_time(response.ends_by),
        }
    return {name: value for name, value in fields.items() if value}


def _describe_attempt(attempt: AttemptDetails) -> str:
    text = _format_time(attempt.started_at) or ""
    if attempt.ended_at:
        text += f", {(attempt.ended_at - attempt.started_at).total_seconds():.1f} s"
    text += f" on {attempt.worker_id}"
    if attempt.output_tokens is not None:
        text += f", {attempt.input_tokens} + {attempt.output_tokens} tokens"
    if attempt.dropped:
        text += f", without the {len(attempt.dropped)} oldest items"
    text += f", {attempt.outcome or 'in progress'}"
    return f"{text}: {attempt.cause}" if attempt.cause else text


def _format_time(value: datetime | None) -> str | None:
    return None if value is None else f"{value:%Y-%m-%d %H:%M:%S}"
