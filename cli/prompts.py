"""Commands `backburner prompts`."""

import math
import tomllib
from typing import IO, Any, TypeVar

import click
from pydantic import BaseModel

from app import parsing
from cli.opening import opened
from core import errors, jsonio
from core.bootstrap import Core
from core.log import printable
from core.prompts.prompt_requests import CreatePrompt, CreatePromptVersion, UpdatePrompt
from core.tenants import audit
from core.tenants.keys import DEFAULT_PROJECT

Schema = TypeVar("Schema", bound=BaseModel)

_PAGE = 100
project_option = click.option("--project", default=DEFAULT_PROJECT, show_default=True, help="Project of the prompt.")
file_argument = click.argument("file", type=click.File("rb"))


@click.group()
def prompts() -> None:
    """Create, list, show, revise, change and delete stored prompts."""


@prompts.command()
@file_argument
@project_option
def create(file: IO[bytes], project: str) -> None:
    """Create a prompt from FILE and print it.

    FILE is JSON or TOML, or `-` for standard input. It has the fields of `POST /v1/prompts`: name, description,
    template.
    """
    asked = _read(CreatePrompt, file)
    with opened() as core:
        _show(core.prompts.create(_project(core, project), asked, audit.operator()))


@prompts.command("list")
@project_option
def list_prompts(project: str) -> None:
    """List the prompts of a project: ID, default version and number of versions, name."""
    with opened() as core:
        project_id, after, more = _project(core, project), None, True
        while more:
            page = core.prompts.listed(project_id, limit=_PAGE, descending=False, after=after)
            for found in map(jsonio.loads, page.data):
                versions = f"{found['default_version']} of {len(found['versions'])}"
                click.echo(f"{found['id']}  {versions}  {printable(found['name'])}")
            after, more = page.last_id, page.has_more


@prompts.command()
@click.argument("prompt_id")
@click.option("--version", help="Version to show, with its template.")
@project_option
def show(prompt_id: str, version: str | None, project: str) -> None:
    """Show a prompt or one of its versions."""
    with opened() as core:
        project_id = _project(core, project)
        _show(
            core.prompts.get(project_id, prompt_id)
            if version is None
            else core.prompts.version(project_id, prompt_id, version)
        )


@prompts.command()
@click.argument("prompt_id")
@file_argument
@click.option("--default", "make_default", is_flag=True, help="Make it the default version.")
@project_option
def revise(prompt_id: str, file: IO[bytes], *, make_default: bool, project: str) -> None:
    """Add a version to a prompt from FILE and print it.

    FILE is JSON or TOML with the key template, or `-` for standard input.
    """
    asked = _read(CreatePromptVersion, file)
    asked = asked.model_copy(update={"make_default": make_default or asked.make_default})
    with opened() as core:
        _show(core.prompts.add_version(_project(core, project), prompt_id, asked, audit.operator()))


@prompts.command()
@click.argument("prompt_id")
@click.option("--name")
@click.option("--description")
@click.option("--default-version", help="Version used when a request names none.")
@project_option
def change(
    prompt_id: str, name: str | None, description: str | None, default_version: str | None, project: str
) -> None:
    """Change the name, description or default version of a prompt, and print it."""
    changes = {"name": name, "description": description, "default_version": default_version}
    asked = parsing.validate(UpdatePrompt, changes)
    with opened() as core:
        _show(core.prompts.update(_project(core, project), prompt_id, asked, audit.operator()))


@prompts.command()
@click.argument("prompt_id")
@project_option
def delete(prompt_id: str, project: str) -> None:
    """Delete a prompt and all of its versions.

    Responses created from the prompt do not change.
    """
    with opened() as core:
        core.prompts.delete(_project(core, project), prompt_id, audit.operator())
        click.echo(f"{prompt_id} is deleted.")


def _project(core: Core, name: str) -> str:
    return core.keys.project(name)


def _read(schema: type[Schema], file: IO[bytes]) -> Schema:
    """Read and validate a file: JSON if it begins with a brace, which no TOML document does, else TOML.

    Raises:
        errors.InvalidRequest: the file is neither JSON nor TOML, or its content is invalid.
    """
    text = file.read()
    try:
        if not text.lstrip().startswith(b"{"):
            # Convert through JSON: TOML dates become strings; other values that JSON cannot represent are rejected.
            text = jsonio.dumps(tomllib.loads(text.decode(), parse_float=_finite)).encode()
        changes: Any = jsonio.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise errors.InvalidRequest(f"{file.name} is neither JSON nor TOML: {error}.") from error
    return parsing.validate(schema, changes)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"JSON has no number {text}")
    return number


def _show(document: str) -> None:
    click.echo(jsonio.pretty(document))
