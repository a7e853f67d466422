"""The routes of projects and their keys: what each is for, takes and answers."""

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
                "Make a project, which this key may use from then on",
                description="For keys of the project `default`.",
                requestBody=body("CreateProject", {"name": "team-a"}),
                good=ok("Project", "It is there."),
                bad=(400, 413),
            ),
            "get": keyed(
                "listProjects",
                "Projects",
                "List the projects this key may use",
                *(LIMIT, ORDER, AFTER),
                good=ok("ProjectList", "A page of them."),
                bad=(400,),
            ),
        },
        "/v1/projects/{project_id}": {
            "get": keyed("getProject", "Projects", "Get a project", project_id, good=ok("Project", "It is here.")),
        },
        "/v1/projects/{project_id}/api_keys": {
            "post": keyed(
                "createApiKey",
                "Projects",
                "Make a key of a project",
                project_id,
                description="Without `rights` it may read, write and cancel.",
                requestBody=body("CreateKey", {"name": "batch", "rights": ["read", "write"]}),
                good=ok("NewApiKey", "The only answer that has the key."),
                bad=(400, 413),
            ),
            "get": keyed(
                "listApiKeys",
                "Projects",
                "List a project's keys",
                *(project_id, LIMIT, ORDER, AFTER),
                good=ok("ApiKeyList", "A page of those that are not revoked."),
                bad=(400,),
            ),
        },
        "/v1/projects/{project_id}/api_keys/{key_id}": {
            "get": keyed("getApiKey", "Projects", "Get a key", *(project_id, key_id), good=ok("ApiKey", "It is here.")),
            "delete": keyed(
                "revokeApiKey",
                "Projects",
                "Revoke a key, for good",
                *(project_id, key_id),
                good=ok("DeletedApiKey", "It is refused everywhere within 5 seconds."),
            ),
        },
        "/v1/projects/{project_id}/api_keys/{key_id}/rotate": {
            "post": keyed(
                "rotateApiKey",
                "Projects",
                "Replace a key by another one with its ID and rights",
                *(project_id, key_id),
                good=ok("NewApiKey", "The only answer that has the new key."),
            ),
        },
    }
