"""Commands `backburner prompts`."""

import math
import tomllib
from typing import IO, Any, TypeVar

import click
from pydantic import BaseModel

from app import parsing
from cli.opening import open_checked_core
from core import errors, jsonio
from core.bootstrap import Core
from core.log import escape_unprintable
from core.prompts.prompt_requests import CreatePrompt, CreatePromptVersion, UpdatePrompt
from core.tenants import audit
from core.tenants.keys import DEFAULT_PROJECT

Schema = TypeVar("Schema", bound=BaseModel)

_PAGE_SIZE = 100
project_option = click.option("--project", default=DEFAULT_PROJECT, show_default=True, help="Project of the prompt.")
file_argument = click.argument("file", type=click.File("rb"))


@click.group()
def prompts() -> None:
    """Create, list, show, revise, change and delete stored prompts."""


@prompts.command("create")
@file_argument
@project_option
def create_prompt(file: IO[bytes], project: str) -> None:
    """Create a prompt from FILE and print the prompt.

    FILE is JSON or TOML, or `-` for standard input. It has the fields of `POST /v1/prompts`: name, description,
    template.
    """
    request = _read_request(CreatePrompt, file)
    with open_checked_core() as core:
        _print_document(core.prompts.create(_find_project_id(core, project), request, audit.operator()))


@prompts.command("list")
@project_option
def list_prompts(project: str) -> None:
    """List the prompts of a project: ID, default version and number of versions, name."""
    with open_checked_core() as core:
        project_id, after, has_more = _find_project_id(core, project), None, True
        while has_more:
            page = core.prompts.list_prompts(project_id, limit=_PAGE_SIZE, descending=False, after=after)
            for prompt in map(jsonio.loads, page.data):
                versions = f"{prompt['default_version']} of {len(prompt['versions'])}"
                click.echo(f"{prompt['id']}  {versions}  {escape_unprintable(prompt['name'])}")
            after, has_more = page.last_id, page.has_more


@prompts.command("show")
@click.argument("prompt_id")
@click.option("--version", help="Number of a version, which is shown with its template.")
@project_option
def show_prompt(prompt_id: str, version: str | None, project: str) -> None:
    """Show a prompt or one of its versions."""
    with open_checked_core() as core:
        project_id = _find_project_id(core, project)
        _print_document(
            core.prompts.get(project_id, prompt_id)
            if version is None
            else core.prompts.version(project_id, prompt_id, version)
        )


@prompts.command("revise")
@click.argument("prompt_id")
@file_argument
@click.option("--default", "make_default", is_flag=True, help="Make the new version the default version.")
@project_option
def add_version(prompt_id: str, file: IO[bytes], *, make_default: bool, project: str) -> None:
    """Add a version from FILE to a prompt and print the version.

    FILE is JSON or TOML, or `-` for standard input. It has the fields of `POST /v1/prompts/{id}/versions`: template,
    make_default.
    """
    request = _read_request(CreatePromptVersion, file)
    request = request.model_copy(update={"make_default": make_default or request.make_default})
    with open_checked_core() as core:
        _print_document(core.prompts.add_version(_find_project_id(core, project), prompt_id, request, audit.operator()))


@prompts.command("change")
@click.argument("prompt_id")
@click.option("--name", help="New name.")
@click.option("--description", help="New description.")
@click.option("--default-version", help="Number of the version that is used if a request contains no version.")
@project_option
def update_prompt(
    prompt_id: str, name: str | None, description: str | None, default_version: str | None, project: str
) -> None:
    """Change the name, description or default version of a prompt, and print it."""
    fields = {"name": name, "description": description, "default_version": default_version}
    request = parsing.validate(UpdatePrompt, fields)
    with open_checked_core() as core:
        _print_document(core.prompts.update(_find_project_id(core, project), prompt_id, request, audit.operator()))


@prompts.command("delete")
@click.argument("prompt_id")
@project_option
def delete_prompt(prompt_id: str, project: str) -> None:
    """Delete a prompt and all of its versions.

    Responses created from the prompt do not change.
    """
    with open_checked_core() as core:
        core.prompts.delete(_find_project_id(core, project), prompt_id, audit.operator())
        click.echo(f"{prompt_id} is deleted.")


def _find_project_id(core: Core, name: str) -> str:
    return core.keys.project(name)


def _read_request(schema: type[Schema], file: IO[bytes]) -> Schema:
    """Read and validate a file: JSON if it begins with a brace, which is invalid in TOML, otherwise TOML.

    Raises:
        errors.InvalidRequest: the file is neither JSON nor TOML, or its content is invalid.
    """
    content = file.read()
    try:
        if not content.lstrip().startswith(b"{"):
            # Conversion to JSON turns TOML dates into strings and rejects other values that JSON cannot represent.
            content = jsonio.dumps(tomllib.loads(content.decode(), parse_float=_parse_finite_float)).encode()
        fields: Any = jsonio.loads(content)
    except (ValueError, TypeError, RecursionError) as error:
        raise errors.InvalidRequest(f"{file.name} is neither JSON nor TOML: {error}.") from error
    return parsing.validate(schema, fields)


def _parse_finite_float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"JSON has no number {text}")
    return number


def _print_document(document: str) -> None:
    click.echo(jsonio.indent_json(document))
