"""The endpoints of projects and their keys."""

from tests.contract.endpoints import WRONG_PAGE, Endpoint, Refusal

ISOLATION_TEST = "test_projects_and_keys_of_others_are_exactly_as_unknown_as_those_that_never_were"
UNKNOWN_PROJECT = Refusal(
    404, None, "no such project, or the key may not use it; `param` is `project_id`", ISOLATION_TEST
)
UNKNOWN_KEY = Refusal(
    404, None, "the project has no such key, or the key is revoked; `param` is `key_id`", ISOLATION_TEST
)
MISSING_RIGHTS = Refusal(
    403,
    "permission_denied",
    "the new key would have rights that the request's key lacks; type `permission_error`",
    "test_an_admin_gives_no_more_than_it_has",
)
UNKNOWN_FIELD = Refusal(
    400,
    "unknown_parameter",
    "an unknown field",
    "test_a_wrong_body_of_a_project_or_key_is_refused_by_its_place",
)
KEY_FIELDS = "the key: `{id, object, project_id, name, hint, rights, created_at, rotated_at}`"

ENDPOINTS = (
    Endpoint(
        "POST /v1/projects",
        "JSON: `name`",
        "the project: `{id, object, name, created_at}`",
        "test_an_admin_of_the_first_project_makes_projects_and_may_use_them_at_once",
        (
            UNKNOWN_FIELD,
            Refusal(
                400,
                "project_name_taken",
                "a project with this name exists",
                "test_a_wrong_body_of_a_project_or_key_is_refused_by_its_place",
            ),
            Refusal(
                403,
                "permission_denied",
                "the key's own project is not `default`; type `permission_error`",
                "test_only_keys_of_the_first_project_make_projects",
            ),
        ),
    ),
    Endpoint(
        "GET /v1/projects",
        "`limit`, `order`, `after`",
        "a list of the projects that the key may use, newest first",
        "test_an_admin_sees_the_projects_its_key_may_use_and_no_other",
        WRONG_PAGE,
    ),
    Endpoint(
        "GET /v1/projects/{id}",
        "",
        "the project",
        "test_an_admin_sees_the_projects_its_key_may_use_and_no_other",
        (UNKNOWN_PROJECT,),
    ),
    Endpoint(
        "POST /v1/projects/{id}/api_keys",
        "JSON: `name`, `rights` (default: `read`, `write`, `cancel`)",
        f"{KEY_FIELDS}, and `key`, which only this reply contains",
        "test_a_key_made_over_http_works_is_shown_once_and_is_found_without_its_secret",
        (UNKNOWN_PROJECT, UNKNOWN_FIELD, MISSING_RIGHTS),
    ),
    Endpoint(
        "GET /v1/projects/{id}/api_keys",
        "`limit`, `order`, `after`",
        "a list of the project's own keys that are not revoked, newest first",
        "test_a_key_made_over_http_works_is_shown_once_and_is_found_without_its_secret",
        (UNKNOWN_PROJECT, *WRONG_PAGE),
    ),
    Endpoint(
        "GET /v1/projects/{id}/api_keys/{id}",
        "",
        KEY_FIELDS,
        "test_a_key_made_over_http_works_is_shown_once_and_is_found_without_its_secret",
        (UNKNOWN_PROJECT, UNKNOWN_KEY),
    ),
    Endpoint(
        "DELETE /v1/projects/{id}/api_keys/{id}",
        "",
        "`{id, object, deleted}`: the key is revoked",
        "test_a_key_revoked_over_http_is_refused_and_gone_from_lists",
        (UNKNOWN_PROJECT, UNKNOWN_KEY),
    ),
    Endpoint(
        "POST /v1/projects/{id}/api_keys/{id}/rotate",
        "the body is ignored",
        "the key with its new `key`, which only this reply contains; the old `key` is refused",
        "test_a_rotated_key_keeps_its_id_and_rights_and_the_old_secret_is_refused_for_good",
        (UNKNOWN_PROJECT, UNKNOWN_KEY, MISSING_RIGHTS),
    ),
)
