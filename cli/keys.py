"""Commands `backburner keys`, `projects` and `audit`."""

import json
import re
from dataclasses import asdict
from datetime import datetime
from typing import Any

import click

from cli.opening import open_checked_core
from cli.usage import usage
from core.tenants.keys import DEFAULT_PROJECT, KeyDetails
from core.tenants.rights import Right

_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class _RightsType(click.ParamType[frozenset[str]]):
    """Option type for a comma-separated list of rights."""

    name = "rights"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> frozenset[str]:
        """Parse the list; fail with an error that contains the first unknown right."""
        rights = frozenset(part.strip() for part in str(value).split(","))
        for unknown_right in sorted(rights - set(Right)):
            self.fail(f"'{unknown_right}' is not one of {', '.join(Right)}.", param, ctx)
        return rights


class _AgeType(click.ParamType[float]):
    """Option type for a duration (`90s`, `30m`, `12h`, `7d`) or an ISO 8601 date, converted to an age in seconds.

    A date without an offset from UTC is in local time.
    """

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse the value; fail with an error that shows the accepted forms."""
        if match := re.fullmatch(r"([0-9]{1,9})([smhd])", str(value), re.ASCII):
            return float(match[1]) * _UNIT_SECONDS[match[2]]
        try:
            start = datetime.fromisoformat(str(value)).astimezone()
        except (ValueError, OverflowError):
            self.fail(f"'{value}' is neither a duration (90s, 30m, 12h, 7d) nor a date (2026-01-31T12:00).", param, ctx)
        return (datetime.now().astimezone() - start).total_seconds()


@click.group()
def keys() -> None:
    """Create, list, rotate and revoke API keys."""


@keys.command("create")
@click.option(
    "--project", default=DEFAULT_PROJECT, show_default=True, help="Project of the key; created if it does not exist."
)
@click.option(
    "--rights",
    multiple=True,
    type=_RightsType(),
    help=f"Rights of the key: {', '.join(Right)}. Comma-separated; repeatable. Without a right other than no-limit, "
    "the key also gets read, write and cancel.",
)
@click.option(
    "--also",
    "additional_projects",
    multiple=True,
    metavar="PROJECT",
    help="Name of an additional project that the key may use; repeatable.",
)
@click.option("--name", help="Name shown in lists.")
def create_key(
    project: str, rights: tuple[frozenset[str], ...], additional_projects: tuple[str, ...], name: str | None
) -> None:
    """Create an API key and print it.

    The key cannot be displayed again.
    """
    with open_checked_core() as core:
        click.echo(
            core.keys.create(frozenset().union(*rights), project, additional_projects=additional_projects, name=name)
        )


@keys.command("list")
@click.option("--project", help="Show only keys of this project.")
def list_keys(project: str | None) -> None:
    """List API keys: ID, projects, last characters, rights, creation time, state, name.

    The keys themselves are not shown.
    """
    with open_checked_core() as core:
        for key in core.keys.list_keys(project):
            rights = ",".join(key.rights) or "-"
            click.echo(
                f"{key.id}  {'+'.join([key.project, *key.also])}  …{key.hint}  {rights}"
                f"  {key.created_at:%Y-%m-%d %H:%M}  {_key_state(key)}{f'  {key.name}' if key.name else ''}"
            )


@keys.command("rotate")
@click.argument("key_id")
def rotate_key(key_id: str) -> None:
    """Replace a key with a new key that has the same ID and rights, and print the new key.

    The new key cannot be displayed again. All processes reject the old key within 5 seconds.
    """
    with open_checked_core() as core:
        click.echo(core.keys.rotate(key_id))


@keys.command("revoke")
@click.argument("key_id")
def revoke_key(key_id: str) -> None:
    """Revoke a key.

    All processes reject the key within 5 seconds.
    """
    with open_checked_core() as core:
        core.keys.revoke(key_id)
        click.echo(f"{key_id} is revoked.")


@click.group()
def projects() -> None:
    """Create, list and show projects, and report their usage."""


projects.add_command(usage)


@projects.command("create")
@click.argument("name")
def create_project(name: str) -> None:
    """Create a project and print its ID."""
    with open_checked_core() as core:
        click.echo(core.projects.add(name))


@projects.command("list")
def list_projects() -> None:
    """List projects: ID, creation time, name."""
    with open_checked_core() as core:
        for project in core.projects.all():
            click.echo(f"{project.id}  {project.created_at:%Y-%m-%d %H:%M}  {project.name}")


@projects.command("show")
@click.argument("project")
def show_project(project: str) -> None:
    """Show a project and its keys.

    PROJECT is a name or an ID.
    """
    with open_checked_core() as core:
        row = core.projects.find(project)
        click.echo(f"id      {row.id}\nname    {row.name}\ncreated {row.created_at:%Y-%m-%d %H:%M}")
        for key in core.keys.list_keys(row.name):
            click.echo(f"key     {key.id}  …{key.hint}  {','.join(key.rights) or '-'}  {_key_state(key)}")


@click.command()
@click.option("--project", help="Show only entries of this project.")
@click.option("--since", "since_s", type=_AgeType(), help="Maximum age (90s, 30m, 12h, 7d), or a start date.")
@click.option(
    "--limit",
    default=100,
    show_default=True,
    type=click.IntRange(1, 100_000),
    help="Maximum number of entries; older entries are omitted.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON Lines.")
def audit(project: str | None, since_s: float | None, limit: int, *, as_json: bool) -> None:
    """Print the audit log of keys and operators, oldest entry first."""
    with open_checked_core() as core:
        for entry in core.audit.list_newest(project=project, since_s=since_s, limit=limit):
            if as_json:
                click.echo(json.dumps(asdict(entry) | {"at": entry.at.isoformat()}))
                continue
            actor_name = f"{entry.actor} ({entry.os_user})" if entry.os_user else entry.actor
            details = json.dumps(entry.details) if entry.details else ""
            click.echo(
                f"{entry.at:%Y-%m-%d %H:%M:%S}  {actor_name}  {entry.action}  {entry.object_id}  {entry.project or '-'}"
                f"  {entry.request_id or '-'}  {details}".rstrip()
            )


def _key_state(key: KeyDetails) -> str:
    return f"revoked {key.revoked_at:%Y-%m-%d %H:%M}" if key.revoked_at else "active"
