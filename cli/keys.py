"""Operators' commands for projects, their keys, and the audit log."""

import json
import re
from dataclasses import asdict
from datetime import datetime
from typing import Any

import click

from cli.usage import usage
from core import settings
from core.bootstrap import open_core
from core.tenants.keys import DEFAULT_PROJECT, Listed
from core.tenants.rights import Right

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class _Rights(click.ParamType[frozenset[str]]):
    """Rights, one or several with commas between them."""

    name = "rights"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> frozenset[str]:
        """The rights, or an error that names the unknown one."""
        named = frozenset(part.strip() for part in str(value).split(","))
        for unknown in sorted(named - set(Right)):
            self.fail(f"'{unknown}' is none of {', '.join(Right)}.", param, ctx)
        return named


class _Age(click.ParamType[float]):
    """A time: `90s`, `30m`, `12h`, `7d`, or a date with an offset from UTC; as seconds from now."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The seconds, or an error that says what is understood."""
        if found := re.fullmatch(r"([0-9]{1,9})([smhd])", str(value), re.ASCII):
            return float(found[1]) * _UNITS_S[found[2]]
        try:
            then = datetime.fromisoformat(str(value)).astimezone()
        except (ValueError, OverflowError):
            self.fail(f"'{value}' is neither as 90s, 30m, 12h or 7d nor a date as 2026-01-31T12:00.", param, ctx)
        return (datetime.now().astimezone() - then).total_seconds()


@click.group()
def keys() -> None:
    """Make, list, rotate and revoke API keys."""


@keys.command("create")
@click.option("--project", default=DEFAULT_PROJECT, show_default=True, help="The project it is for; made if need be.")
@click.option(
    "--rights",
    multiple=True,
    type=_Rights(),
    help=f"What it may do, of {', '.join(Right)}: with commas, or several times. Without, or with no-limit alone: "
    "read, write and cancel, too.",
)
@click.option("--also", multiple=True, metavar="PROJECT", help="A further project it may use; several times.")
@click.option("--name", help="What to call it in lists.")
def create_key(project: str, rights: tuple[frozenset[str], ...], also: tuple[str, ...], name: str | None) -> None:
    """Make a key and print it, once."""
    with open_core(settings.load()) as core:
        core.schema.check()
        click.echo(core.keys.create(frozenset().union(*rights), project, also=also, name=name))


@keys.command("list")
@click.option("--project", help="Of this project only.")
def list_keys(project: str | None) -> None:
    """List the keys, without the keys themselves."""
    with open_core(settings.load()) as core:
        core.schema.check()
        for key in core.keys.listed(project):
            rights = ",".join(key.rights) or "-"
            click.echo(
                f"{key.id}  {'+'.join([key.project, *key.also])}  …{key.hint}  {rights}"
                f"  {key.created_at:%Y-%m-%d %H:%M}  {_state(key)}{f'  {key.name}' if key.name else ''}"
            )


@keys.command()
@click.argument("key_id")
def rotate(key_id: str) -> None:
    """Replace a key by a new one with the same ID and rights, and print that, once.

    Every process refuses the old one within 5 seconds.
    """
    with open_core(settings.load()) as core:
        core.schema.check()
        click.echo(core.keys.rotate(key_id))


@keys.command()
@click.argument("key_id")
def revoke(key_id: str) -> None:
    """Make a key useless; every process refuses it within 5 seconds."""
    with open_core(settings.load()) as core:
        core.schema.check()
        core.keys.revoke(key_id)
        click.echo(f"{key_id} is revoked.")


@click.group()
def projects() -> None:
    """Make, list and show projects, and sum up what they used."""


projects.add_command(usage)


@projects.command("create")
@click.argument("name")
def create_project(name: str) -> None:
    """Make a project and print its ID."""
    with open_core(settings.load()) as core:
        core.schema.check()
        click.echo(core.projects.add(name))


@projects.command("list")
def list_projects() -> None:
    """List the projects: ID, age, name."""
    with open_core(settings.load()) as core:
        core.schema.check()
        for project in core.projects.all():
            click.echo(f"{project.id}  {project.created_at:%Y-%m-%d %H:%M}  {project.name}")


@projects.command()
@click.argument("project")
def show(project: str) -> None:
    """Show a project, by name or ID, and its keys."""
    with open_core(settings.load()) as core:
        core.schema.check()
        found = core.projects.find(project)
        click.echo(f"id      {found.id}\nname    {found.name}\nmade    {found.created_at:%Y-%m-%d %H:%M}")
        for key in core.keys.listed(found.name):
            click.echo(f"key     {key.id}  …{key.hint}  {','.join(key.rights) or '-'}  {_state(key)}")


@click.command()
@click.option("--project", help="Of this project only.")
@click.option("--since", "since_s", type=_Age(), help="Not older: 90s, 30m, 12h, 7d, or a date.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 100_000), help="The newest so many.")
@click.option("--json", "as_json", is_flag=True, help="An object a line.")
def audit(project: str | None, since_s: float | None, limit: int, *, as_json: bool) -> None:
    """Print what keys and operators did, oldest first."""
    with open_core(settings.load()) as core:
        core.schema.check()
        for entry in core.audit.newest(project=project, since_s=since_s, limit=limit):
            if as_json:
                click.echo(json.dumps(asdict(entry) | {"at": entry.at.isoformat()}))
                continue
            who = f"{entry.actor} ({entry.os_user})" if entry.os_user else entry.actor
            details = json.dumps(entry.details) if entry.details else ""
            click.echo(
                f"{entry.at:%Y-%m-%d %H:%M:%S}  {who}  {entry.action}  {entry.object_id}  {entry.project or '-'}"
                f"  {entry.request_id or '-'}  {details}".rstrip()
            )


def _state(key: Listed) -> str:
    return f"revoked {key.revoked_at:%Y-%m-%d %H:%M}" if key.revoked_at else "active"
