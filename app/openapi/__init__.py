"""The OpenAPI document of this server, generated from the models that validate its requests."""

from app.openapi import answers, operations, schemas
from core import VERSION
from core.jsonio import JsonObject

_DESCRIPTION = """\
A self-hosted server for the Responses API. Create a response with `background: true`, then poll it, wait for it, stream
it or cancel it. The official `openai` clients work with this server if their `base_url` is its URL followed by `/v1`.

Every error is an `error` object with `message`, `type`, `param` and `code`; all four are always present. Every answer
has an `x-request-id` header.
"""
_TAG_DESCRIPTIONS = {
    "Responses": "Create, poll, cancel, delete and list responses.",
    "Prompts": "Prompt templates, which requests refer to with `prompt`. Their versions are immutable.",
    "Projects": "Projects and their API keys. Requires an API key with the right `admin`.",
    "Models": "The models that requests can use.",
    "Server": "Health checks and API documentation. No API key is required.",
}


def document() -> JsonObject:
    """The OpenAPI 3.1 document, with every route, parameter, status and object of this server."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Backburner",
            "version": VERSION,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "tags": [{"name": name, "description": description} for name, description in _TAG_DESCRIPTIONS.items()],
        "paths": operations.paths(),
        "components": {
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key, as printed by `backburner keys create` or `backburner up`. Requests"
                    " act in the key's own project. To act in another project to which the key has access, pass its ID"
                    " or name as `ai_project_id` in the query string or in the `OpenAI-Project` header.",
                }
            },
            "schemas": schemas.components(),
            "responses": answers.error_components(),
            "headers": answers.header_components(),
        },
    }
