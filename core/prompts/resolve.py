"""Expansion of the stored prompt to which a request refers."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from core import errors, ids, jsonio
from core.context import parts
from core.database import Connection
from core.jsonio import JsonObject
from core.prompts import prompts_sql, templates
from core.prompts.prompt_requests import DEFAULTS, Template
from core.settings import Settings
from core.wire.items import InputItem, Message
from core.wire.request import CreateResponse


@dataclass(frozen=True)
class ResolvedRequest:
    """A request with its prompt expanded.

    Args:
        request: the expanded request. Its input begins with the prompt's messages. Its `prompt` contains the number
            of the version that was expanded, even if the client specified none.
        prompt_item_count: number of items at the beginning of the input that come from the prompt.
    """

    request: CreateResponse
    prompt_item_count: int

    @contextmanager
    def relocate_errors(self) -> Iterator[None]:
        """Change the `param` of errors to a position in the client's input, or to `prompt` for the prompt's items."""
        try:
            yield
        except errors.InvalidRequest as error:
            match = re.match(r"input\[(\d+)\]", error.param or "")
            if match is None or not self.prompt_item_count:
                raise
            position = int(match[1]) - self.prompt_item_count
            param = "prompt" if position < 0 else f"input[{position}]{(error.param or '')[match.end() :]}"
            raise errors.InvalidRequest(str(error), param=param, code=error.code) from error


def resolve_prompt(
    connection: Connection, project_id: str, request: CreateResponse, settings: Settings
) -> ResolvedRequest:
    """Expand the prompt to which a request refers. The request's parameters take precedence over those of the prompt.

    Raises:
        errors.InvalidRequest: there is no such prompt or version, a variable is missing, unknown, invalid or of the
            wrong type, or the expanded texts are too long.
    """
    reference = request.prompt
    if reference is None:
        return ResolvedRequest(request, 0)
    version_number = None if reference.version is None else parse_version(reference.version)
    is_valid_version = reference.version is None or version_number is not None
    stored_version = None
    if ids.is_prompt_id(reference.id) and is_valid_version:
        stored_version = prompts_sql.find_version(connection, project_id, reference.id, version_number)
    if stored_version is None:
        if reference.version is not None and find_prompt(connection, project_id, reference.id) is not None:
            raise errors.InvalidRequest(
                f"Prompt with id '{reference.id}' has no version '{reference.version}'.",
                param="prompt.version",
                code="prompt_version_not_found",
            )
        raise errors.InvalidRequest(
            f"Prompt with id '{reference.id}' not found.", param="prompt.id", code="prompt_not_found"
        )
    template = Template.model_validate(jsonio.loads(stored_version.template))
    values = templates.resolve_values(template, reference.variables)
    for name, value in reference.variables.items():
        parts.check_part(value, f"prompt.variables.{name}", settings)
    instructions, messages = templates.expand(template, values)
    defaults: JsonObject = {name: getattr(template, name) for name in DEFAULTS} | {"instructions": instructions}
    changes = {
        name: value for name, value in defaults.items() if value is not None and name not in request.model_fields_set
    }
    changes["prompt"] = reference.model_copy(update={"version": str(stored_version.version)})
    if messages:
        changes["input"] = [*messages, *_input_items(request)]
    return ResolvedRequest(request.model_copy(update=changes), len(messages))


def _input_items(request: CreateResponse) -> list[InputItem]:
    if isinstance(request.input, str):
        return [Message(role="user", content=request.input)]
    return request.input or []


def parse_version(version: str) -> int | None:
    """Parse a version number; return None if the text is not a version number."""
    return int(version) if re.fullmatch(r"[1-9][0-9]{0,8}", version, re.ASCII) else None


def find_prompt(connection: Connection, project_id: str, prompt_id: str) -> prompts_sql.StoredPrompt | None:
    """Return the project's prompt with this ID; None if there is none, or if the ID is not that of a prompt."""
    return prompts_sql.find(connection, project_id, prompt_id) if ids.is_prompt_id(prompt_id) else None
