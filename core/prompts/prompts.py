"""Use cases of stored prompts: create, read, change, list and delete prompts and their versions."""

from collections.abc import Iterator
from contextlib import contextmanager

from core import errors, ids, jsonio
from core.context import parts
from core.database import Connection, Database, UniqueViolation
from core.prompts import prompts_sql, templates
from core.prompts.prompt_requests import CreatePrompt, CreatePromptVersion, Template, UpdatePrompt
from core.prompts.resolve import find_prompt, parse_version
from core.settings import Settings
from core.tenants import audit_sql
from core.tenants.audit_sql import Act, Actor
from core.wire.pages import Page, build_page

# Maximum size of a template as JSON text. A template is read for each request that refers to its prompt.
TEMPLATE_LIMIT = 1_048_576  # characters


class Prompts:
    """The prompts of projects, for clients and operators. Documents are JSON text."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings

    def create(self, project_id: str, new_prompt: CreatePrompt, actor: Actor) -> str:
        """Store a prompt and its first version, which becomes the default; return the prompt's document.

        Raises:
            errors.InvalidRequest: the template is invalid, or the name is in use. Nothing is written.
            errors.StoreUnavailable: it is unknown whether the prompt was written; if so, its name is in use.
        """
        template = _check_template(new_prompt.template, self._settings)
        prompt_id = ids.new_id("pmpt")
        with _report_name_conflict(new_prompt.name), self._database.transaction() as connection:
            prompts_sql.insert(
                connection, project_id, prompt_id, name=new_prompt.name, description=new_prompt.description
            )
            prompts_sql.add_version(connection, prompt_id, template)
            audit_sql.insert(connection, Act(actor, "prompt.created", prompt_id), project_id)
            return _document(_require_prompt(connection, project_id, prompt_id))

    def add_version(self, project_id: str, prompt_id: str, new_version: CreatePromptVersion, actor: Actor) -> str:
        """Add the next version to a prompt; return the version's document, with its template.

        Raises:
            errors.NotFound: the project has no such prompt.
            errors.InvalidRequest: the template is invalid. Nothing is written.
            errors.StoreUnavailable: it is unknown whether the version was written.
        """
        template = _check_template(new_version.template, self._settings)
        with self._database.transaction() as connection:
            _lock(connection, project_id, prompt_id)
            version = prompts_sql.add_version(connection, prompt_id, template)
            audit_sql.insert(
                connection, Act(actor, "prompt.version_added", prompt_id, {"version": str(version)}), project_id
            )
            if new_version.make_default:
                prompts_sql.update(connection, prompt_id, name=None, description=None, default_version=version)
            return _version_document(prompt_id, _require_version(connection, project_id, prompt_id, version))

    def update(self, project_id: str, prompt_id: str, changes: UpdatePrompt, actor: Actor) -> str:
        """Change a prompt's name, description or default version; return the prompt's document.

        Raises:
            errors.NotFound: the project has no such prompt.
            errors.InvalidRequest: the name is in use, or there is no such version. Nothing is written.
            errors.StoreUnavailable: it is unknown whether the prompt was changed; a retry is safe.
        """

        def update_row() -> str:
            with _report_name_conflict(changes.name), self._database.transaction() as connection:
                _lock(connection, project_id, prompt_id)
                version = None
                if changes.default_version is not None:
                    version = parse_version(changes.default_version)
                    if version not in _require_prompt(connection, project_id, prompt_id).versions:
                        raise errors.InvalidRequest(
                            f"The prompt has no version '{changes.default_version}'.", param="default_version"
                        )
                prompts_sql.update(
                    connection, prompt_id, name=changes.name, description=changes.description, default_version=version
                )
                changed_fields = [name for name, value in changes.model_dump().items() if value is not None]
                audit_sql.insert(
                    connection, Act(actor, "prompt.changed", prompt_id, {"fields": changed_fields}), project_id
                )
                return _document(_require_prompt(connection, project_id, prompt_id))

        return self._database.run_with_retry(update_row)

    def get(self, project_id: str, prompt_id: str) -> str:
        """Return a prompt's document, with the numbers of its versions.

        Raises:
            errors.NotFound: the project has no such prompt.
            errors.StoreUnavailable: Postgres is unavailable.
        """

        def read_document() -> str:
            with self._database.connection() as connection:
                return _document(_require_prompt(connection, project_id, prompt_id))

        return self._database.run_with_retry(read_document)

    def version(self, project_id: str, prompt_id: str, version: str) -> str:
        """Return a version's document, with its template.

        Raises:
            errors.NotFound: the project has no such prompt, or the prompt has no such version.
            errors.StoreUnavailable: Postgres is unavailable.
        """

        def read_document() -> str:
            with self._database.connection() as connection:
                _require_prompt(connection, project_id, prompt_id)
                return _version_document(
                    prompt_id, _require_version(connection, project_id, prompt_id, parse_version(version), version)
                )

        return self._database.run_with_retry(read_document)

    def list_prompts(self, project_id: str, *, limit: int, descending: bool, after: str | None = None) -> Page:
        """Return a page of a project's prompts, in the order of their creation.

        Raises:
            errors.InvalidRequest: `after` is not a prompt of the project.
        """
        with self._database.connection() as connection:
            if after is not None and find_prompt(connection, project_id, after) is None:
                raise errors.InvalidRequest(f"Prompt with id '{after[:200]}' not found.", param="after")
            rows = prompts_sql.page(connection, project_id, limit=limit + 1, descending=descending, after=after)
        return build_page([(row.id, _document(row)) for row in rows[:limit]], has_more=len(rows) > limit)

    def delete(self, project_id: str, prompt_id: str, actor: Actor) -> None:
        """Delete a prompt and its versions. Responses that were created with it do not change.

        Raises:
            errors.NotFound: the project has no such prompt.
            errors.StoreUnavailable: it is unknown whether the prompt was deleted; a retry is safe.
        """
        with self._database.transaction() as connection:
            if not ids.is_prompt_id(prompt_id) or not prompts_sql.delete(connection, project_id, prompt_id):
                raise _not_found_error(prompt_id)
            audit_sql.insert(connection, Act(actor, "prompt.deleted", prompt_id), project_id)


def _check_template(template: Template, settings: Settings) -> str:
    """Check that a template is valid; return it as JSON text for its row."""
    templates.check_template(template)
    with templates.relocate_errors():
        parts.check_input(templates.build_request(template), settings)
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
def _report_name_conflict(name: str | None) -> Iterator[None]:
    """Raise `errors.InvalidRequest` if the block violates the uniqueness of prompt names in a project."""
    try:
        yield
    except UniqueViolation as error:
        raise errors.InvalidRequest(
            f"The project already has a prompt named '{name}'.", param="name", code="prompt_name_taken"
        ) from error


def _require_prompt(connection: Connection, project_id: str, prompt_id: str) -> prompts_sql.StoredPrompt:
    row = find_prompt(connection, project_id, prompt_id)
    if row is None:
        raise _not_found_error(prompt_id)
    return row


def _require_version(
    connection: Connection, project_id: str, prompt_id: str, version: int | None, requested_version: str = ""
) -> prompts_sql.StoredVersion:
    """Read a version of a prompt.

    Args:
        version: the version's number; None if the client requested a version that is not a number.
        requested_version: the version as the client requested it, for the error message.
    """
    row = None if version is None else prompts_sql.find_version(connection, project_id, prompt_id, version)
    if row is None:
        raise errors.NotFound(
            f"Prompt with id '{prompt_id}' has no version '{requested_version[:200]}'.", param="version"
        )
    return row


def _lock(connection: Connection, project_id: str, prompt_id: str) -> None:
    if not ids.is_prompt_id(prompt_id) or not prompts_sql.lock(connection, project_id, prompt_id):
        raise _not_found_error(prompt_id)


def _not_found_error(prompt_id: str) -> errors.NotFound:
    """Return the error for a prompt that does not exist or belongs to another project."""
    return errors.NotFound(f"Prompt with id '{prompt_id[:200]}' not found.", param="prompt_id")


def _document(row: prompts_sql.StoredPrompt) -> str:
    return jsonio.dumps(
        {
            "id": row.id,
            "object": "prompt",
            "created_at": int(row.created_at.timestamp()),
            "name": row.name,
            "description": row.description,
            "default_version": str(row.default_version),
            "versions": [str(version) for version in row.versions],
        }
    )


def _version_document(prompt_id: str, row: prompts_sql.StoredVersion) -> str:
    return jsonio.dumps(
        {
            "prompt_id": prompt_id,
            "object": "prompt.version",
            "version": str(row.version),
            "created_at": int(row.created_at.timestamp()),
            "template": jsonio.loads(row.template),
        }
    )
