"""Operators' commands over the use cases of core."""

import click

from core import settings
from core.bootstrap import open_core
from core.tiers import NO_LIMIT_RIGHT


@click.group()
def keys() -> None:
    """Make, list and revoke API keys."""


@keys.command()
@click.option("--project", default="default", show_default=True, help="The project it is for; made if need be.")
@click.option("--rights", multiple=True, type=click.Choice([NO_LIMIT_RIGHT]), help="What it may do beyond the usual.")
def create(project: str, rights: tuple[str, ...]) -> None:
    """Make a key and print it, once."""
    with open_core(settings.load()) as core:
        core.schema.check()
        click.echo(core.keys.create(rights, project))


@keys.command("list")
def list_keys() -> None:
    """List the keys, without the keys themselves."""
    with open_core(settings.load()) as core:
        core.schema.check()
        for key in core.keys.listed():
            state = f"revoked {key.revoked_at:%Y-%m-%d %H:%M}" if key.revoked_at else "active"
            rights = ",".join(key.rights) or "-"
            click.echo(f"{key.id}  {key.project}  …{key.hint}  {rights}  {key.created_at:%Y-%m-%d %H:%M}  {state}")


@keys.command()
@click.argument("key_id")
def revoke(key_id: str) -> None:
    """Make a key useless; every process refuses it within 5 seconds."""
    with open_core(settings.load()) as core:
        core.schema.check()
        core.keys.revoke(key_id)
        click.echo(f"{key_id} is revoked.")
