"""The OpenAPI document of this server, made from the models that validate its requests."""

from typing import Any

from app.openapi import answers, operations, schemas
from core import VERSION

_ABOUT = """\
A self-hosted server for the Responses API: create a response with `background: true`, poll it, wait for it, cancel it.
It answers the official `openai` clients with `base_url` set to `/v1` of this server.

Every error leaves in the same envelope with its four keys, and every answer carries `x-request-id`.
"""
_TAGS = {
    "Responses": "Create, poll, cancel, delete and list responses.",
    "Prompts": "Templates that `prompt` of a create may name; each version stays as it is.",
    "Projects": "Projects and their keys; for keys with the right `admin`.",
    "Models": "What `model` may name.",
    "Server": "For supervisors, load balancers and readers; no key needed.",
}


def document() -> dict[str, Any]:
    """An OpenAPI 3.1 document that names every route, parameter, status and object of this server."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Backburner",
            "version": VERSION,
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "tags": [{"name": name, "description": words} for name, words in _TAGS.items()],
        "paths": operations.paths(),
        "components": {
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A key that `backburner keys create` printed, or the one of `backburner up`. It"
                    " speaks for its own project, or for another that it may use where `ai_project_id` (query) or"
                    " `OpenAI-Project` (header) names that, by ID or name.",
                }
            },
            "schemas": schemas.components(),
            "responses": answers.errors(),
            "headers": answers.headers(),
        },
    }
