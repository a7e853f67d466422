"""The operations on projects and their API keys in the OpenAPI document."""

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

_PROJECT_ID = parameter("path", "project_id", "The project's `id`.", string_schema(), required=True)
_KEY_ID = parameter("path", "key_id", "The key's `id`.", string_schema(), required=True)


def paths() -> JsonObject:
    """All operations on projects and their keys, by path and method."""
    return _project_operations() | _key_collection_operations() | _single_key_operations()


def _project_operations() -> JsonObject:
    return {
        "/v1/projects": {
            "post": authenticated_operation(
                "createProject",
                "Projects",
                "Create a project and give the key of the request access to it",
                description="Requires a key of the project `default`.",
                requestBody=request_body("CreateProject", {"name": "team-a"}),
                successes=json_success("Project", "Project created."),
                error_statuses=(413,),
            ),
            "get": authenticated_operation(
                "listProjects",
                "Projects",
                "List the projects to which the key of the request has access",
                *(LIMIT, ORDER, AFTER),
                successes=json_success("ProjectList", "A page of projects."),
            ),
        },
        "/v1/projects/{project_id}": {
            "get": authenticated_operation(
                "getProject",
                "Projects",
                "Get a project",
                _PROJECT_ID,
                successes=json_success("Project", "The project."),
            ),
        },
    }


def _key_collection_operations() -> JsonObject:
    return {
        "/v1/projects/{project_id}/api_keys": {
            "post": authenticated_operation(
                "createApiKey",
                "Projects",
                "Create an API key",
                _PROJECT_ID,
                description="Without `rights`, the new key has the rights `read`, `write` and `cancel`.",
                requestBody=request_body("CreateKey", {"name": "batch", "rights": ["read", "write"]}),
                successes=json_success("NewApiKey", "API key created. Its secret is returned only once."),
                error_statuses=(413,),
            ),
            "get": authenticated_operation(
                "listApiKeys",
                "Projects",
                "List a project's API keys",
                *(_PROJECT_ID, LIMIT, ORDER, AFTER),
                successes=json_success("ApiKeyList", "A page of API keys; revoked keys are omitted."),
            ),
        },
    }


def _single_key_operations() -> JsonObject:
    return {
        "/v1/projects/{project_id}/api_keys/{key_id}": {
            "get": authenticated_operation(
                "getApiKey",
                "Projects",
                "Get an API key",
                _PROJECT_ID,
                _KEY_ID,
                successes=json_success("ApiKey", "The key."),
            ),
            "delete": authenticated_operation(
                "revokeApiKey",
                "Projects",
                "Revoke an API key permanently",
                *(_PROJECT_ID, _KEY_ID),
                successes=json_success("DeletedApiKey", "API key revoked. It is rejected everywhere within 5 seconds."),
            ),
        },
        "/v1/projects/{project_id}/api_keys/{key_id}/rotate": {
            "post": authenticated_operation(
                "rotateApiKey",
                "Projects",
                "Replace the secret of an API key; the key keeps its ID and rights",
                *(_PROJECT_ID, _KEY_ID),
                successes=json_success("NewApiKey", "API key rotated. Its new secret is returned only once."),
            ),
        },
    }
