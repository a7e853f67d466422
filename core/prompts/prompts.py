"""Stored prompts: creating, versioning and listing them, and expanding them in requests that name them."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from core import errors, ids, jsonio
from core.context import parts
from core.database import Connection, Database, UniqueViolation
from core.prompts import prompts_sql as store
from core.prompts import templates
from core.prompts.prompt_requests import DEFAULTS, CreatePrompt, CreatePromptVersion, Template, UpdatePrompt
from core.settings import Settings
from core.tenants import audit_sql
from core.tenants.audit_sql import Act, Actor
from core.wire.items import InputItem, Message
from core.wire.pages import Page, build_page
from core.wire.request import CreateResponse

# Maximum size of a template as JSON. A template is read with each request that names it.
TEMPLATE_LIMIT = 1_048_576  # characters


class Prompts:
    """A project's prompts, for clients and operators. Documents are JSON text."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings

    def create(self, project_id: str, asked: CreatePrompt, by: Actor) -> str:
        """Store a prompt and its first version, which becomes the default; return the prompt's document.

        Raises:
            errors.InvalidRequest: the template cannot be used, or the name is taken. Nothing is written.
            errors.StoreUnavailable: it is unknown whether the prompt was written; if so, its name is taken.
        """
        template = _checked(asked.template, self._settings)
        prompt_id = ids.new("pmpt")
        with _unique_name(asked.name), self._database.transaction() as connection:
            store.insert(connection, project_id, prompt_id, name=asked.name, description=asked.description)
            store.add_version(connection, prompt_id, template)
            audit_sql.insert(connection, Act(by, "prompt.created", prompt_id), project_id)
            return _document(_found(connection, project_id, prompt_id))

    def add_version(self, project_id: str, prompt_id: str, asked: CreatePromptVersion, by: Actor) -> str:
        """Add the next version to a prompt; return the version's document, with its template.

        Raises:
            errors.NotFound: the project has no such prompt.
            errors.InvalidRequest: the template cannot be used. Nothing is written.
            errors.StoreUnavailable: it is unknown whether the version was written.
        """
        template = _checked(asked.template, self._settings)
        with self._database.transaction() as connection:
            _lock(connection, project_id, prompt_id)
            version = store.add_version(connection, prompt_id, template)
            audit_sql.insert(
                connection, Act(by, "prompt.version_added", prompt_id, {"version": str(version)}), project_id
            )
            if asked.make_default:
                store.update(connection, prompt_id, name=None, description=None, default_version=version)
            return _version_document(prompt_id, _found_version(connection, project_id, prompt_id, version))

    def update(self, project_id: str, prompt_id: str, asked: UpdatePrompt, by: Actor) -> str:
        """Change a prompt's name, description or default version; return the prompt's document.

        Raises:
            errors.NotFound: the project has no such prompt.
            errors.InvalidRequest: the name is taken, or there is no such version. Nothing is written.
            errors.StoreUnavailable: it is unknown whether the prompt was changed; a retry is safe.
        """

        def update() -> str:
            with _unique_name(asked.name), self._database.transaction() as connection:
                _lock(connection, project_id, prompt_id)
                version = None
                if asked.default_version is not None:
                    version = _number(asked.default_version)
                    if version not in _found(connection, project_id, prompt_id).versions:
                        raise errors.InvalidRequest(
                            f"The prompt has no version '{asked.default_version}'.", param="default_version"
                        )
                store.update(
                    connection, prompt_id, name=asked.name, description=asked.description, default_version=version
                )
                changed = [name for name, value in asked.model_dump().items() if value is not None]
                audit_sql.insert(connection, Act(by, "prompt.changed", prompt_id, {"fields": changed}), project_id)
                return _document(_found(connection, project_id, prompt_id))

        return self._database.again(update)

    def get(self, project_id: str, prompt_id: str) -> str:
        """A prompt's document, with the numbers of its versions.

        Raises:
            errors.NotFound: the project has no such prompt.
            errors.StoreUnavailable: Postgres is unavailable.
        """

        def get() -> str:
            with self._database.connection() as connection:
                return _document(_found(connection, project_id, prompt_id))

        return self._database.again(get)

    def version(self, project_id: str, prompt_id: str, version: str) -> str:
        """A version's document, with its template.

        Raises:
            errors.NotFound: the project has no such prompt, or the prompt has no such version.
            errors.StoreUnavailable: Postgres is unavailable.
        """

        def get() -> str:
            with self._database.connection() as connection:
                _found(connection, project_id, prompt_id)
                return _version_document(
                    prompt_id, _found_version(connection, project_id, prompt_id, _number(version), version)
                )

        return self._database.again(get)

    def listed(self, project_id: str, *, limit: int, descending: bool, after: str | None = None) -> Page:
        """A page of a project's prompts in the order of their creation.

        Raises:
            errors.InvalidRequest: `after` is not a prompt of the project.
        """
        with self._database.connection() as connection:
            if after is not None and _find(connection, project_id, after) is None:
                raise errors.InvalidRequest(f"Prompt with id '{after[:200]}' not found.", param="after")
            rows = store.page(connection, project_id, limit=limit + 1, descending=descending, after=after)
        return build_page([(row.id, _document(row)) for row in rows[:limit]], has_more=len(rows) > limit)

    def delete(self, project_id: str, prompt_id: str, by: Actor) -> None:
        """Delete a prompt with its versions. Responses that were created with it do not change.

        Raises:
            errors.NotFound: the project has no such prompt.
            errors.StoreUnavailable: it is unknown whether the prompt was deleted; a retry is safe.
        """
        with self._database.transaction() as connection:
            if not ids.is_prompt_id(prompt_id) or not store.delete(connection, project_id, prompt_id):
                raise _unknown(prompt_id)
            audit_sql.insert(connection, Act(by, "prompt.deleted", prompt_id), project_id)


@dataclass(frozen=True)
class Resolved:
    """A request with its prompt expanded.

    Args:
        request: its input begins with the prompt's messages, and its `prompt` has the version that was used.
        opening: number of items at the beginning of the input that come from the prompt.
    """

    request: CreateResponse
    opening: int

    @contextmanager
    def naming(self) -> Iterator[None]:
        """Make errors name the position in the input that the client sent, or `prompt` for items from the prompt."""
        try:
            yield
        except errors.InvalidRequest as error:
            place = re.match(r"input\[(\d+)\]", error.param or "")
            if place is None or not self.opening:
                raise
            position = int(place[1]) - self.opening
            param = "prompt" if position < 0 else f"input[{position}]{(error.param or '')[place.end() :]}"
            raise errors.InvalidRequest(str(error), param=param, code=error.code) from error


def resolve(connection: Connection, project_id: str, request: CreateResponse, settings: Settings) -> Resolved:
    """Expand the prompt that a request names. Parameters of the request take precedence over those of the prompt.

    Raises:
        errors.InvalidRequest: there is no such prompt or version, a variable is missing, unknown or of the wrong type,
            or the expanded texts are too long.
    """
    asked = request.prompt
    if asked is None:
        return Resolved(request, 0)
    number = None if asked.version is None else _number(asked.version)
    found = None
    if ids.is_prompt_id(asked.id) and (asked.version is None or number is not None):
        found = store.find_version(connection, project_id, asked.id, number)
    if found is None:
        if asked.version is not None and _find(connection, project_id, asked.id) is not None:
            raise errors.InvalidRequest(
                f"Prompt with id '{asked.id}' has no version '{asked.version}'.",
                param="prompt.version",
                code="prompt_version_not_found",
            )
        raise errors.InvalidRequest(
            f"Prompt with id '{asked.id}' not found.", param="prompt.id", code="prompt_not_found"
        )
    template = Template.model_validate(jsonio.loads(found.template))
    values = templates.values(template, asked.variables)
    for name, value in asked.variables.items():
        parts.check_part(value, f"prompt.variables.{name}", settings)
    instructions, messages = templates.expand(template, values)
    changes: dict[str, Any] = {name: getattr(template, name) for name in DEFAULTS} | {"instructions": instructions}
    changes = {
        name: value for name, value in changes.items() if value is not None and name not in request.model_fields_set
    }
    changes["prompt"] = asked.model_copy(update={"version": str(found.version)})
    if messages:
        changes["input"] = [*messages, *_own(request)]
    return Resolved(request.model_copy(update=changes), len(messages))


def _own(request: CreateResponse) -> list[InputItem]:
    if isinstance(request.input, str):
        return [Message(role="user", content=request.input)]
    return request.input or []


def _checked(template: Template, settings: Settings) -> str:
    """Check that a template can be used; return it as the JSON text for its row."""
    templates.check(template)
    with templates.naming():
        parts.check(templates.as_request(template), settings)
    for name, variable in template.variables.items():
        parts.check_part(variable.default, f"template.variables.{name}.default", settings)
    text = jsonio.dumps(template.model_dump(mode="json", by_alias=True, exclude_none=True))
    if len(text) > TEMPLATE_LIMIT:
        raise errors.InvalidRequest(
            f"The template has {len(text)} characters as JSON; at most {TEMPLATE_LIMIT} are allowed.",
            param="template",
            code="string_above_max_length",
        )
    return text


@contextmanager
def _unique_name(name: str | None) -> Iterator[None]:
    try:
        yield
    except UniqueViolation as error:
        raise errors.InvalidRequest(
            f"The project already has a prompt named '{name}'.", param="name", code="prompt_name_taken"
        ) from error


def _number(version: str) -> int | None:
    """The number of a version, or None if the text cannot be a version number."""
    return int(version) if re.fullmatch(r"[1-9][0-9]{0,8}", version, re.ASCII) else None


def _find(connection: Connection, project_id: str, prompt_id: str) -> store.Found | None:
    return store.find(connection, project_id, prompt_id) if ids.is_prompt_id(prompt_id) else None


def _found(connection: Connection, project_id: str, prompt_id: str) -> store.Found:
    found = _find(connection, project_id, prompt_id)
    if found is None:
        raise _unknown(prompt_id)
    return found


def _found_version(
    connection: Connection, project_id: str, prompt_id: str, number: int | None, asked: str = ""
) -> store.FoundVersion:
    found = None if number is None else store.find_version(connection, project_id, prompt_id, number)
    if found is None:
        raise errors.NotFound(f"Prompt with id '{prompt_id}' has no version '{asked[:200]}'.", param="version")
    return found


def _lock(connection: Connection, project_id: str, prompt_id: str) -> None:
    if not ids.is_prompt_id(prompt_id) or not store.lock(connection, project_id, prompt_id):
        raise _unknown(prompt_id)


def _unknown(prompt_id: str) -> errors.NotFound:
    """The error for a prompt that does not exist. A prompt of another project gets the same error."""
    return errors.NotFound(f"Prompt with id '{prompt_id[:200]}' not found.", param="prompt_id")


def _document(found: store.Found) -> str:
    return jsonio.dumps(
        {
            "id": found.id,
            "object": "prompt",
            "created_at": int(found.created_at.timestamp()),
            "name": found.name,
            "description": found.description,
            "default_version": str(found.default_version),
            "versions": [str(version) for version in found.versions],
        }
    )


def _version_document(prompt_id: str, found: store.FoundVersion) -> str:
    return jsonio.dumps(
        {
            "prompt_id": prompt_id,
            "object": "prompt.version",
            "version": str(found.version),
            "created_at": int(found.created_at.timestamp()),
            "template": jsonio.loads(found.template),
        }
    )
