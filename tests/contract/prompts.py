"""`prompt` of a create, and the endpoints of stored prompts."""

from tests.contract.endpoints import WRONG_PAGE, Endpoint, Refusal
from tests.contract.rows import UNSAID, Good, Parameter, Wrong, types_except

UNKNOWN_ID = {"id": "pmpt_" + "0" * 48}

PROMPT = Parameter(
    "prompt",
    "`{id, version, variables}`: a stored prompt of the project; a version number as a string, default: the prompt's "
    "default version; a text, or an `input_text`, `input_image` or `input_file` part, for each variable",
    "the version's messages come before `input`, and its parameters apply unless the request sets them; later changes "
    "of the prompt do not affect the response; echoed with the version that was used, without the data of images and "
    "files",
    accepted_values=(Good(None, UNSAID),),
    wrong_values=(
        *types_except("an object"),
        Wrong("no ID", {}, "missing_required_parameter", "prompt.id"),
        Wrong("a number for the ID", {"id": 1}, "invalid_type", "prompt.id"),
        Wrong("an ID over 256 characters", {"id": "p" * 257}, "string_above_max_length", "prompt.id"),
        Wrong("an unknown ID", UNKNOWN_ID, "prompt_not_found", "prompt.id"),
        Wrong("an ID with NUL", {"id": "\0"}, "prompt_not_found", "prompt.id"),
        Wrong("an unknown ID with a version", UNKNOWN_ID | {"version": "1"}, "prompt_not_found", "prompt.id"),
        Wrong("a decimal for the version", UNKNOWN_ID | {"version": 1.0}, "invalid_type", "prompt.version"),
        Wrong("true for the version", UNKNOWN_ID | {"version": True}, "invalid_type", "prompt.version"),
        Wrong("a long version", UNKNOWN_ID | {"version": "1" * 65}, "string_above_max_length", "prompt.version"),
        Wrong("an array for variables", UNKNOWN_ID | {"variables": ["a"]}, "invalid_type", "prompt.variables"),
        Wrong(
            "65 variables",
            UNKNOWN_ID | {"variables": dict.fromkeys(map(str, range(65)), "")},
            "object_above_max_properties",
            "prompt.variables",
        ),
        Wrong(
            "a variable name with a space", UNKNOWN_ID | {"variables": {"a b": ""}}, "invalid_value", "prompt.variables"
        ),
        Wrong("a number for a variable", UNKNOWN_ID | {"variables": {"a": 5}}, "invalid_type", "prompt.variables.a"),
        Wrong("null for a variable", UNKNOWN_ID | {"variables": {"a": None}}, "invalid_type", "prompt.variables.a"),
        Wrong(
            "an unknown part for a variable",
            UNKNOWN_ID | {"variables": {"a": {"type": "output_video"}}},
            "invalid_value",
            "prompt.variables.a.type",
        ),
    ),
    proof=(
        "test_a_prompt_becomes_instructions_and_messages_before_the_input",
        "test_what_the_request_says_itself_goes_before_what_the_prompt_says",
        "test_a_response_keeps_what_it_has_of_a_prompt_that_changes_or_goes",
        "test_a_variable_that_is_missing_unknown_or_of_another_type_is_named",
        "test_values_that_would_make_the_prompt_too_long_are_refused_before_anything_is_put_together",
        "test_a_version_that_is_not_there_is_refused_by_its_place",
    ),
)
PARAMETERS = (PROMPT,)

UNKNOWN_PROMPT = Refusal(
    404,
    None,
    "the key's project has no such prompt; `param` is `prompt_id`",
    "test_another_projects_prompt_is_exactly_as_unknown_as_one_that_never_was",
)
INVALID_TEMPLATE = Refusal(
    400,
    "invalid_value",
    "an invalid template; `param` is the place in it",
    "test_a_template_that_cannot_be_used_is_refused_by_the_place_in_it",
)
NAME_TAKEN = Refusal(
    400, "prompt_name_taken", "the project has a prompt with this name", "test_a_name_is_unique_in_its_project"
)
UNKNOWN_FIELD = Refusal(
    400, "unknown_parameter", "an unknown field", "test_a_field_that_a_prompt_does_not_have_is_refused"
)

ENDPOINTS = (
    Endpoint(
        "POST /v1/prompts",
        "JSON: `name`, `description`, `template` ([prompts.md](prompts.md)); not part of OpenAI's API",
        "the prompt: `{id, object, created_at, name, description, default_version, versions}`",
        "test_a_prompt_is_made_with_version_1_and_found_again",
        (INVALID_TEMPLATE, NAME_TAKEN, UNKNOWN_FIELD),
    ),
    Endpoint(
        "GET /v1/prompts",
        "`limit`, `order`, `after`",
        "a list of the project's prompts, newest first",
        "test_pages_of_prompts_add_up_to_all_of_them",
        WRONG_PAGE,
    ),
    Endpoint(
        "GET /v1/prompts/{id}",
        "",
        "the prompt",
        "test_a_prompt_is_made_with_version_1_and_found_again",
        (UNKNOWN_PROMPT,),
    ),
    Endpoint(
        "POST /v1/prompts/{id}",
        "JSON: `name`, `description`, `default_version`; omitted fields are unchanged",
        "the prompt",
        "test_a_prompt_may_get_another_name_and_another_default_version",
        (
            UNKNOWN_PROMPT,
            NAME_TAKEN,
            UNKNOWN_FIELD,
            Refusal(
                400,
                "invalid_value",
                "an unknown `default_version`",
                "test_a_version_that_is_not_there_is_refused_by_its_place",
            ),
        ),
    ),
    Endpoint(
        "DELETE /v1/prompts/{id}",
        "",
        "`{id, object, deleted}`",
        "test_a_deleted_prompt_is_gone_with_its_versions",
        (UNKNOWN_PROMPT,),
    ),
    Endpoint(
        "POST /v1/prompts/{id}/versions",
        "JSON: `template`; `make_default`",
        "the version: `{prompt_id, object, version, created_at, template}`",
        "test_versions_are_numbered_from_1_and_never_change",
        (UNKNOWN_PROMPT, INVALID_TEMPLATE, UNKNOWN_FIELD),
    ),
    Endpoint(
        "GET /v1/prompts/{id}/versions/{id}",
        "",
        "the version",
        "test_versions_are_numbered_from_1_and_never_change",
        (
            UNKNOWN_PROMPT,
            Refusal(
                404,
                None,
                "unknown version; `param` is `version`",
                "test_a_version_that_is_not_there_is_refused_by_its_place",
            ),
        ),
    ),
)
