"""The operations on projects and their API keys in the OpenAPI document."""

from typing import Any

from app.openapi.parts import AFTER, LIMIT, ORDER, body, in_, keyed, ok, text


def paths() -> dict[str, Any]:
    """Every operation on projects by path and method."""
    project_id = in_("path", "project_id", "The project's `id`.", text(), required=True)
    key_id = in_("path", "key_id", "The key's `id`.", text(), required=True)
    return {
        "/v1/projects": {
            "post": keyed(
                "createProject",
                "Projects",
                "Create a project and give this key access to it",
                description="Requires a key of the project `default`.",
                requestBody=body("CreateProject", {"name": "team-a"}),
                good=ok("Project", "Project created."),
                bad=(400, 413),
            ),
            "get": keyed(
                "listProjects",
                "Projects",
                "List the projects that this key has access to",
                *(LIMIT, ORDER, AFTER),
                good=ok("ProjectList", "A page of projects."),
                bad=(400,),
            ),
        },
        "/v1/projects/{project_id}": {
            "get": keyed("getProject", "Projects", "Get a project", project_id, good=ok("Project", "The project.")),
        },
        "/v1/projects/{project_id}/api_keys": {
            "post": keyed(
                "createApiKey",
                "Projects",
                "Create an API key",
                project_id,
                description="Without `rights`, the key has the rights `read`, `write` and `cancel`.",
                requestBody=body("CreateKey", {"name": "batch", "rights": ["read", "write"]}),
                good=ok("NewApiKey", "API key created. Its secret is returned only once."),
                bad=(400, 413),
            ),
            "get": keyed(
                "listApiKeys",
                "Projects",
                "List a project's API keys",
                *(project_id, LIMIT, ORDER, AFTER),
                good=ok("ApiKeyList", "A page of API keys, without revoked keys."),
                bad=(400,),
            ),
        },
        "/v1/projects/{project_id}/api_keys/{key_id}": {
            "get": keyed("getApiKey", "Projects", "Get an API key", project_id, key_id, good=ok("ApiKey", "The key.")),
            "delete": keyed(
                "revokeApiKey",
                "Projects",
                "Revoke an API key permanently",
                *(project_id, key_id),
                good=ok("DeletedApiKey", "API key revoked. It is rejected everywhere within 5 seconds."),
            ),
        },
        "/v1/projects/{project_id}/api_keys/{key_id}/rotate": {
            "post": keyed(
                "rotateApiKey",
                "Projects",
                "Rotate an API key, keeping its ID and rights",
                *(project_id, key_id),
                good=ok("NewApiKey", "API key rotated. Its new secret is returned only once."),
            ),
        },
    }
