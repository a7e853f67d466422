"""`prompt` of a create, and the endpoints of stored prompts."""

from tests.contract.endpoints import INVALID_PAGE_QUERY, Endpoint, Refusal
from tests.contract.rows import NOT_ECHOED, AcceptedValue, Parameter, WrongValue, types_except

UNKNOWN_ID = {"id": "pmpt_" + "0" * 48}

PROMPT = Parameter(
    "prompt",
    "`{id, version, variables}`: a stored prompt of the project; a version number as a string, default: the prompt's "
    "default version; a text, or an `input_text`, `input_image` or `input_file` part, for each variable",
    "the messages of the version come before `input`, and its parameters apply unless the request sets them; later "
    "changes to the prompt do not affect the response; echoed with the version that was used, without the data of "
    "images and files",
    accepted_values=(AcceptedValue(None, NOT_ECHOED),),
    wrong_values=(
        *types_except("an object"),
        WrongValue("no ID", {}, "missing_required_parameter", "prompt.id"),
        WrongValue("a number for the ID", {"id": 1}, "invalid_type", "prompt.id"),
        WrongValue("an ID over 256 characters", {"id": "p" * 257}, "string_above_max_length", "prompt.id"),
        WrongValue("an unknown ID", UNKNOWN_ID, "prompt_not_found", "prompt.id"),
        WrongValue("an ID with NUL", {"id": "\0"}, "prompt_not_found", "prompt.id"),
        WrongValue("an unknown ID with a version", UNKNOWN_ID | {"version": "1"}, "prompt_not_found", "prompt.id"),
        WrongValue("a decimal for the version", UNKNOWN_ID | {"version": 1.0}, "invalid_type", "prompt.version"),
        WrongValue("true for the version", UNKNOWN_ID | {"version": True}, "invalid_type", "prompt.version"),
        WrongValue("a long version", UNKNOWN_ID | {"version": "1" * 65}, "string_above_max_length", "prompt.version"),
        WrongValue("an array for variables", UNKNOWN_ID | {"variables": ["a"]}, "invalid_type", "prompt.variables"),
        WrongValue(
            "65 variables",
            UNKNOWN_ID | {"variables": dict.fromkeys(map(str, range(65)), "")},
            "object_above_max_properties",
            "prompt.variables",
        ),
        WrongValue(
            "a variable name with a space", UNKNOWN_ID | {"variables": {"a b": ""}}, "invalid_value", "prompt.variables"
        ),
        WrongValue(
            "a number for a variable", UNKNOWN_ID | {"variables": {"a": 5}}, "invalid_type", "prompt.variables.a"
        ),
        WrongValue(
            "null for a variable", UNKNOWN_ID | {"variables": {"a": None}}, "invalid_type", "prompt.variables.a"
        ),
        WrongValue(
            "an unknown part for a variable",
            UNKNOWN_ID | {"variables": {"a": {"type": "output_video"}}},
            "invalid_value",
            "prompt.variables.a.type",
        ),
    ),
    proof=(
        "test_a_prompt_provides_the_instructions_and_the_messages_before_the_input",
        "test_parameters_of_the_request_override_those_of_the_prompt",
        "test_a_response_does_not_change_with_its_prompt",
        "test_a_missing_unknown_or_mistyped_variable_is_rejected_by_name",
        "test_values_that_exceed_the_length_limit_are_rejected_before_they_are_inserted",
        "test_an_unknown_version_is_rejected_with_the_parameter",
    ),
)
PARAMETERS = (PROMPT,)

UNKNOWN_PROMPT = Refusal(
    404,
    None,
    "the key's project has no such prompt; `param` is `prompt_id`",
    "test_a_foreign_prompt_gets_the_same_answer_as_an_unknown_prompt",
)
INVALID_TEMPLATE = Refusal(
    400,
    "invalid_value",
    "an invalid template; `param` is the location of the error in it",
    "test_an_invalid_template_is_rejected_with_the_location",
)
NAME_TAKEN = Refusal(
    400,
    "prompt_name_taken",
    "the project has another prompt with this name",
    "test_the_name_of_a_prompt_is_unique_in_its_project",
)
UNKNOWN_FIELD = Refusal(400, "unknown_parameter", "an unknown field", "test_an_unknown_field_of_a_prompt_is_rejected")

ENDPOINTS = (
    Endpoint(
        "POST /v1/prompts",
        "JSON: `name`, `description`, `template` ([prompts.md](prompts.md)); not part of OpenAI's API",
        "the prompt: `{id, object, created_at, name, description, default_version, versions}`",
        "test_a_new_prompt_has_version_1_and_can_be_read",
        (INVALID_TEMPLATE, NAME_TAKEN, UNKNOWN_FIELD),
    ),
    Endpoint(
        "GET /v1/prompts",
        "`limit`, `order`, `after`",
        "a list of the project's prompts, newest first",
        "test_the_pages_of_a_list_contain_all_prompts",
        INVALID_PAGE_QUERY,
    ),
    Endpoint(
        "GET /v1/prompts/{id}",
        "",
        "the prompt",
        "test_a_new_prompt_has_version_1_and_can_be_read",
        (UNKNOWN_PROMPT,),
    ),
    Endpoint(
        "POST /v1/prompts/{id}",
        "JSON: `name`, `description`, `default_version`; omitted fields are unchanged",
        "the prompt",
        "test_the_name_and_the_default_version_of_a_prompt_can_be_changed",
        (
            UNKNOWN_PROMPT,
            NAME_TAKEN,
            UNKNOWN_FIELD,
            Refusal(
                400,
                "invalid_value",
                "an unknown `default_version`",
                "test_an_unknown_version_is_rejected_with_the_parameter",
            ),
        ),
    ),
    Endpoint(
        "DELETE /v1/prompts/{id}",
        "",
        "`{id, object, deleted}`",
        "test_the_deletion_of_a_prompt_deletes_its_versions",
        (UNKNOWN_PROMPT,),
    ),
    Endpoint(
        "POST /v1/prompts/{id}/versions",
        "JSON: `template`, `make_default`",
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
                "the prompt does not have the version; `param` is `version`",
                "test_an_unknown_version_is_rejected_with_the_parameter",
            ),
        ),
    ),
)
