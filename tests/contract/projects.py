"""The endpoints of projects and their keys."""

from tests.contract.endpoints import PAGES, Endpoint, Refusal

FOREIGN = "test_projects_and_keys_of_others_are_exactly_as_unknown_as_those_that_never_were"
UNKNOWN = Refusal(404, None, "the key may use no such project; `param` is `project_id`", FOREIGN)
NO_KEY = Refusal(404, None, "the project has no such key, or the key is revoked; `param` is `key_id`", FOREIGN)
MORE = Refusal(
    403,
    "permission_denied",
    "the key would grant rights it lacks; type `permission_error`",
    "test_an_admin_gives_no_more_than_it_has",
)
FIELD = Refusal(
    400,
    "unknown_parameter",
    "an unknown field",
    "test_a_wrong_body_of_a_project_or_key_is_refused_by_its_place",
)
KEY = "the key: `{id, object, project_id, name, hint, rights, created_at, rotated_at}`"

ENDPOINTS = (
    Endpoint(
        "POST /v1/projects",
        "JSON: `name`",
        "the project: `{id, object, name, created_at}`",
        "test_an_admin_of_the_first_project_makes_projects_and_may_use_them_at_once",
        (
            FIELD,
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
        PAGES,
    ),
    Endpoint(
        "GET /v1/projects/{id}",
        "",
        "the project",
        "test_an_admin_sees_the_projects_its_key_may_use_and_no_other",
        (UNKNOWN,),
    ),
    Endpoint(
        "POST /v1/projects/{id}/api_keys",
        "JSON: `name`, `rights` (default: `read`, `write`, `cancel`)",
        f"{KEY}, and `key`, this time only",
        "test_a_key_made_over_http_works_is_shown_once_and_is_found_without_its_secret",
        (UNKNOWN, FIELD, MORE),
    ),
    Endpoint(
        "GET /v1/projects/{id}/api_keys",
        "`limit`, `order`, `after`",
        "a list of the keys whose own project it is, newest first, without revoked ones",
        "test_a_key_made_over_http_works_is_shown_once_and_is_found_without_its_secret",
        (UNKNOWN, *PAGES),
    ),
    Endpoint(
        "GET /v1/projects/{id}/api_keys/{id}",
        "",
        KEY,
        "test_a_key_made_over_http_works_is_shown_once_and_is_found_without_its_secret",
        (UNKNOWN, NO_KEY),
    ),
    Endpoint(
        "DELETE /v1/projects/{id}/api_keys/{id}",
        "",
        "`{id, object, deleted}`: the key is revoked",
        "test_a_key_revoked_over_http_is_refused_and_gone_from_lists",
        (UNKNOWN, NO_KEY),
    ),
    Endpoint(
        "POST /v1/projects/{id}/api_keys/{id}/rotate",
        "the body is ignored",
        "the key with its new `key`, this time only; the old one is refused",
        "test_a_rotated_key_keeps_its_id_and_rights_and_the_old_secret_is_refused_for_good",
        (UNKNOWN, NO_KEY, MORE),
    ),
)
