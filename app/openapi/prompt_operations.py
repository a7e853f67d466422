"""The operations on prompts in the OpenAPI document."""

from app.openapi.parts import (
    AFTER,
    LIMIT,
    ORDER,
    authenticated_operation,
    json_success,
    parameter,
    request_body,
    string_schema,
)
from core.jsonio import JsonObject

_TEMPLATE_EXAMPLE = {"instructions": "Answer in {{language}}.", "variables": {"language": {"default": "French"}}}

_PROMPT_ID = parameter("path", "prompt_id", "The prompt's `id`.", string_schema(), required=True)


def paths() -> JsonObject:
    """All operations on prompts, by path and method."""
    return _prompt_collection_operations() | _single_prompt_operations() | _prompt_version_operations()


def _prompt_collection_operations() -> JsonObject:
    return {
        "/v1/prompts": {
            "post": authenticated_operation(
                "createPrompt",
                "Prompts",
                "Create a prompt",
                requestBody=request_body("CreatePrompt", {"name": "greeting", "template": _TEMPLATE_EXAMPLE}),
                successes=json_success("Prompt", "Prompt created. Its default version is version 1."),
                error_statuses=(413,),
            ),
            "get": authenticated_operation(
                "listPrompts",
                "Prompts",
                "List the project's prompts",
                *(LIMIT, ORDER, AFTER),
                successes=json_success("PromptList", "A page of prompts."),
            ),
        },
    }


def _single_prompt_operations() -> JsonObject:
    return {
        "/v1/prompts/{prompt_id}": {
            "get": authenticated_operation(
                "getPrompt",
                "Prompts",
                "Get a prompt",
                _PROMPT_ID,
                successes=json_success("Prompt", "The prompt."),
            ),
            "post": authenticated_operation(
                "updatePrompt",
                "Prompts",
                "Update a prompt's name, description or default version",
                _PROMPT_ID,
                requestBody=request_body("UpdatePrompt", {"default_version": "1"}),
                successes=json_success("Prompt", "Prompt updated."),
                error_statuses=(413,),
            ),
            "delete": authenticated_operation(
                "deletePrompt",
                "Prompts",
                "Delete a prompt and its versions",
                _PROMPT_ID,
                description="Responses that were created with the prompt do not change.",
                successes=json_success("DeletedPrompt", "Prompt deleted."),
            ),
        },
    }


def _prompt_version_operations() -> JsonObject:
    version = parameter("path", "version", "The version's number.", string_schema(), required=True)
    return {
        "/v1/prompts/{prompt_id}/versions": {
            "post": authenticated_operation(
                "createPromptVersion",
                "Prompts",
                "Add a version to a prompt",
                _PROMPT_ID,
                requestBody=request_body("CreatePromptVersion", {"template": _TEMPLATE_EXAMPLE}),
                successes=json_success("PromptVersion", "Version created. Versions are numbered consecutively."),
                error_statuses=(413,),
            ),
        },
        "/v1/prompts/{prompt_id}/versions/{version}": {
            "get": authenticated_operation(
                "getPromptVersion",
                "Prompts",
                "Get a version of a prompt",
                *(_PROMPT_ID, version),
                successes=json_success("PromptVersion", "The version with its template. Versions never change."),
            ),
        },
    }
