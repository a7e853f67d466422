"""The endpoints of projects and their keys."""

from tests.contract.endpoints import INVALID_PAGE_QUERY, Endpoint, Refusal

ISOLATION_TEST = "test_foreign_projects_and_keys_get_the_same_answers_as_unknown_ones"
UNKNOWN_PROJECT = Refusal(
    404, None, "the project does not exist, or the key may not use it; `param` is `project_id`", ISOLATION_TEST
)
UNKNOWN_KEY = Refusal(
    404, None, "the project does not have the key, or the key is revoked; `param` is `key_id`", ISOLATION_TEST
)
MISSING_RIGHTS = Refusal(
    403,
    "permission_denied",
    "the new key would have rights that the request's key lacks; type `permission_error`",
    "test_an_admin_cannot_grant_rights_or_projects_that_it_does_not_have",
)
UNKNOWN_FIELD = Refusal(
    400,
    "unknown_parameter",
    "an unknown field in the body",
    "test_an_invalid_project_or_key_is_rejected_with_the_parameter",
)
KEY_FIELDS = "the key: `{id, object, project_id, name, hint, rights, created_at, rotated_at}`"

ENDPOINTS = (
    Endpoint(
        "POST /v1/projects",
        "JSON: `name`",
        "the project: `{id, object, name, created_at}`",
        "test_an_admin_of_the_default_project_creates_projects_and_can_use_them",
        (
            UNKNOWN_FIELD,
            Refusal(
                400,
                "project_name_taken",
                "another project has this name",
                "test_an_invalid_project_or_key_is_rejected_with_the_parameter",
            ),
            Refusal(
                403,
                "permission_denied",
                "the key's own project is not `default`; type `permission_error`",
                "test_only_keys_of_the_default_project_can_create_projects",
            ),
        ),
    ),
    Endpoint(
        "GET /v1/projects",
        "`limit`, `order`, `after`",
        "a list of the projects that the key may use, newest first",
        "test_an_admin_lists_only_the_projects_that_its_key_can_use",
        INVALID_PAGE_QUERY,
    ),
    Endpoint(
        "GET /v1/projects/{id}",
        "",
        "the project",
        "test_an_admin_lists_only_the_projects_that_its_key_can_use",
        (UNKNOWN_PROJECT,),
    ),
    Endpoint(
        "POST /v1/projects/{id}/api_keys",
        "JSON: `name`, `rights` (default: `read`, `write`, `cancel`)",
        f"{KEY_FIELDS}, and `key`, which only this reply contains",
        "test_a_new_key_is_returned_once_and_then_listed_without_its_secret",
        (UNKNOWN_PROJECT, UNKNOWN_FIELD, MISSING_RIGHTS),
    ),
    Endpoint(
        "GET /v1/projects/{id}/api_keys",
        "`limit`, `order`, `after`",
        "a list of the project's own keys that are not revoked, newest first",
        "test_a_new_key_is_returned_once_and_then_listed_without_its_secret",
        (UNKNOWN_PROJECT, *INVALID_PAGE_QUERY),
    ),
    Endpoint(
        "GET /v1/projects/{id}/api_keys/{id}",
        "",
        KEY_FIELDS,
        "test_a_new_key_is_returned_once_and_then_listed_without_its_secret",
        (UNKNOWN_PROJECT, UNKNOWN_KEY),
    ),
    Endpoint(
        "DELETE /v1/projects/{id}/api_keys/{id}",
        "",
        "`{id, object, deleted}`: the key is revoked",
        "test_a_revoked_key_is_rejected_and_not_listed",
        (UNKNOWN_PROJECT, UNKNOWN_KEY),
    ),
    Endpoint(
        "POST /v1/projects/{id}/api_keys/{id}/rotate",
        "the body is ignored",
        "the key with its new `key`, which only this reply contains; the old `key` is refused",
        "test_a_rotated_key_has_the_same_id_and_rights_and_only_its_new_secret_works",
        (UNKNOWN_PROJECT, UNKNOWN_KEY, MISSING_RIGHTS),
    ),
)
