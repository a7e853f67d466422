"""Parameters that are objects or lists: metadata, text, reasoning, include, and the options of other parameters."""

from typing import Any

from tests.contract.rows import NOT_ECHOED, AcceptedValue, Parameter, WrongValue, types_except

DEFAULT_TEXT = {"format": {"type": "text"}, "verbosity": "medium"}
SCHEMA = {"type": "json_schema", "name": "answer", "schema": {"type": "object", "properties": {"a": {"type": "null"}}}}


def nested_object(depth: int) -> Any:
    """Return an object with `depth` levels of nested objects."""
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"a": value}
    return value


def with_format(value: Any) -> dict[str, Any]:
    """Return a value of the parameter `text` with this format."""
    return {"format": value}


def with_schema(**changes: Any) -> dict[str, Any]:
    """Return a value of the parameter `text` with the format `SCHEMA` and these changes; None removes a field."""
    return with_format({key: value for key, value in (SCHEMA | changes).items() if value is not None})


METADATA = Parameter(
    "metadata",
    "up to 16 pairs; keys of up to 64 characters, values of up to 512; no NUL",
    "echoed; a filter of lists",
    accepted_values=(
        AcceptedValue({}),
        AcceptedValue(None, {}),
        AcceptedValue({"k" * 64: "v" * 512, "": "", "text": "a", "<text>": "b", "a.b[0]": "é"}),
        AcceptedValue({str(n): "" for n in range(16)}),
    ),
    wrong_values=(
        *types_except("an object"),
        WrongValue("pairs in arrays", [["a", "b"]], "invalid_type"),
        WrongValue("17 pairs", {str(n): "" for n in range(17)}, "object_above_max_properties"),
        WrongValue("200,000 pairs", {str(n): n for n in range(200_000)}, "object_above_max_properties"),
        WrongValue("a number as a value", {"team": "a", "foo": 5}, "invalid_type", "metadata.foo"),
        WrongValue("a boolean as a value", {"foo": True}, "invalid_type", "metadata.foo"),
        WrongValue("null as a value", {"foo": None}, "invalid_type", "metadata.foo"),
        WrongValue("an object as a value", {"foo": {"bar": "baz"}}, "invalid_type", "metadata.foo"),
        WrongValue("a number under text", {"text": 5}, "invalid_type", "metadata.text"),
        WrongValue("a number under <list>", {"<list>": 5}, "invalid_type", "metadata.<list>"),
        WrongValue("a number under [key]", {"[key]": 5}, "invalid_type", "metadata.[key]"),
        WrongValue("a number under a.b", {"a.b": 5}, "invalid_type", "metadata.a.b"),
        WrongValue("a key of 65 characters", {"k" * 65: "a"}, "string_above_max_length"),
        WrongValue("a very long key", {"k" * 1_000_000: "a"}, "string_above_max_length"),
        WrongValue("a value of 513 characters", {"foo": "v" * 513}, "string_above_max_length", "metadata.foo"),
        WrongValue("a key with NUL", {"a\0": "b"}, "invalid_value"),
        WrongValue("a value with NUL", {"foo": "\0"}, "invalid_value", "metadata.foo"),
    ),
    proof=("test_a_list_can_be_filtered_by_status_model_and_metadata",),
)
TEXT = Parameter(
    "text",
    "`{format, verbosity}`: format `text`, `json_object` or `json_schema` with `name` (64 letters, digits, `_`, `-`), "
    "`schema`, `strict`, `description`; verbosity `low`, `medium`, `high`",
    "the format is sent as `response_format` if its schema is valid; the verbosity is sent only with the Responses API",
    accepted_values=(
        AcceptedValue(None, DEFAULT_TEXT),
        AcceptedValue({}, DEFAULT_TEXT),
        AcceptedValue({"format": None, "verbosity": None}, DEFAULT_TEXT),
        AcceptedValue({"verbosity": "low"}, DEFAULT_TEXT | {"verbosity": "low"}),
        AcceptedValue({"format": {"type": "json_object"}}, {"format": {"type": "json_object"}, "verbosity": "medium"}),
        AcceptedValue(
            with_schema(), with_format(SCHEMA | {"strict": False, "description": None}) | {"verbosity": "medium"}
        ),
        AcceptedValue(
            with_schema(name="n" * 64, strict=True, description="d", schema=nested_object(100)),
            with_format(SCHEMA | {"name": "n" * 64, "strict": True, "description": "d", "schema": nested_object(100)})
            | {"verbosity": "medium"},
        ),
    ),
    wrong_values=(
        *types_except("an object"),
        WrongValue("an unknown verbosity", {"verbosity": "loud"}, "invalid_value", "text.verbosity"),
        WrongValue("a number for verbosity", {"verbosity": 1}, "invalid_type", "text.verbosity"),
        WrongValue("a string for format", with_format("json_object"), "invalid_type", "text.format"),
        WrongValue("an array for format", with_format([]), "invalid_type", "text.format"),
        WrongValue("a format without a type", with_format({}), "missing_required_parameter", "text.format.type"),
        WrongValue("an unknown format", with_format({"type": "xml"}), "invalid_value", "text.format.type"),
        WrongValue("a number for type", with_format({"type": 5}), "invalid_type", "text.format.type"),
        WrongValue(
            "`json_schema` without a name", with_schema(name=None), "missing_required_parameter", "text.format.name"
        ),
        WrongValue("an empty name", with_schema(name=""), "string_below_min_length", "text.format.name"),
        WrongValue("a name with a space", with_schema(name="a b"), "invalid_value", "text.format.name"),
        WrongValue("a name with a newline", with_schema(name="ab\n"), "invalid_value", "text.format.name"),
        WrongValue(
            "a name of 65 characters", with_schema(name="n" * 65), "string_above_max_length", "text.format.name"
        ),
        WrongValue(
            "`json_schema` without a schema",
            with_schema(schema=None),
            "missing_required_parameter",
            "text.format.schema",
        ),
        WrongValue("a string for schema", with_schema(schema="{}"), "invalid_type", "text.format.schema"),
        WrongValue("a boolean for schema", with_schema(schema=True), "invalid_type", "text.format.schema"),
        WrongValue(
            "a schema with an unknown type",
            with_schema(schema={"type": "strin"}),
            "invalid_value",
            "text.format.schema",
        ),
        WrongValue(
            "a schema with a dangling reference",
            with_schema(schema={"$ref": "#/no"}),
            "invalid_value",
            "text.format.schema",
        ),
        WrongValue(
            "a schema 200 levels deep", with_schema(schema=nested_object(200)), "invalid_value", "text.format.schema"
        ),
        WrongValue("a string for strict", with_schema(strict="true"), "invalid_type", "text.format.strict"),
        WrongValue("a number for description", with_schema(description=5), "invalid_type", "text.format.description"),
    ),
    proof=(
        "test_a_text_format_is_sent_as_the_response_format",
        "test_a_valid_schema_is_accepted",
        "test_an_invalid_schema_is_rejected_with_its_location",
    ),
)
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
REASONING = Parameter(
    "reasoning",
    "`{effort, summary, generate_summary}`: effort "
    + ", ".join(f"`{effort}`" for effort in EFFORTS)
    + "; summary, or by its older name `generate_summary`: `auto`, `concise`, `detailed`",
    "the effort is sent as `reasoning_effort`; effort and summary are echoed",
    accepted_values=(
        AcceptedValue(None, {"effort": None, "summary": None}),
        AcceptedValue({}, {"effort": None, "summary": None}),
        *(AcceptedValue({"effort": effort}, {"effort": effort, "summary": None}) for effort in EFFORTS),
        AcceptedValue({"generate_summary": "detailed"}, {"effort": None, "summary": "detailed"}),
        AcceptedValue({"effort": "low", "summary": "concise", "mode": "pro"}, {"effort": "low", "summary": "concise"}),
    ),
    wrong_values=(
        *types_except("an object"),
        WrongValue("an unknown effort", {"effort": "extreme"}, "invalid_value", "reasoning.effort"),
        WrongValue("a number for effort", {"effort": 5}, "invalid_type", "reasoning.effort"),
        WrongValue("an object for effort", {"effort": {}}, "invalid_type", "reasoning.effort"),
        WrongValue("an unknown summary", {"summary": "long"}, "invalid_value", "reasoning.summary"),
        WrongValue(
            "an unknown generate_summary", {"generate_summary": "long"}, "invalid_value", "reasoning.generate_summary"
        ),
        WrongValue("a boolean for summary", {"summary": True}, "invalid_type", "reasoning.summary"),
    ),
    proof=("test_the_reasoning_effort_is_passed_on",),
)
INCLUDES = (
    "code_interpreter_call.outputs",
    "computer_call_output.output.image_url",
    "file_search_call.results",
    "message.input_image.image_url",
    "message.output_text.logprobs",
    "reasoning.encrypted_content",
    "web_search_call.action.sources",
    "web_search_call.results",
)
INCLUDE = Parameter(
    "include",
    "up to 20 of " + ", ".join(f"`{name}`" for name in INCLUDES),
    "`message.output_text.logprobs`: the text contains the log probabilities of its tokens; "
    "`reasoning.encrypted_content`: reasoning items contain `encrypted_content`, which returns the reasoning to the "
    "model in a later request; the other values have no effect, because no such output is created",
    accepted_values=(
        AcceptedValue(None, NOT_ECHOED),
        AcceptedValue([], NOT_ECHOED),
        AcceptedValue(list(INCLUDES), NOT_ECHOED),
        AcceptedValue(["message.output_text.logprobs"] * 20, NOT_ECHOED),
    ),
    wrong_values=(
        *types_except("an array"),
        WrongValue("an unknown name", [INCLUDES[0], "everything"], "invalid_value", "include[1]"),
        WrongValue("a number as a name", [5], "invalid_type", "include[0]"),
        WrongValue("null as a name", [None], "invalid_type", "include[0]"),
        WrongValue("an array as a name", [[INCLUDES[0]]], "invalid_type", "include[0]"),
        WrongValue("21 names", [INCLUDES[0]] * 21, "array_above_max_length"),
    ),
    proof=(
        "test_only_the_requested_log_probabilities_are_returned",
        "test_a_finished_reasoning_item_is_encrypted",
        "test_a_server_without_a_key_rejects_requests_to_encrypt_or_decrypt",
    ),
)
WINDOW_PARAM = "background_options.completion_window"
BACKGROUND_OPTIONS = Parameter(
    "background_options",
    "`{completion_window, continuation_id}`: window `soonest`, `2h`, `8h`; an ID of up to 256 characters",
    "`2h` and `8h` set the tier `flex` and a deadline after which the response fails. They require `background` and "
    "the tier `auto`, `default` or `flex`. `continuation_id` has no effect yet",
    accepted_values=(
        AcceptedValue({}, NOT_ECHOED),
        AcceptedValue({"completion_window": None, "continuation_id": None}, NOT_ECHOED),
        AcceptedValue({"completion_window": "soonest"}, NOT_ECHOED, {"service_tier": "default"}),
        AcceptedValue({"completion_window": "8h", "continuation_id": "c" * 256}, NOT_ECHOED),
        AcceptedValue({"completion_window": "2h"}, NOT_ECHOED, {"service_tier": "flex"}),
    ),
    wrong_values=(
        *types_except("an object"),
        WrongValue("an unknown window", {"completion_window": "24h"}, "invalid_value", WINDOW_PARAM),
        WrongValue("a number for window", {"completion_window": 2}, "invalid_type", WINDOW_PARAM),
        WrongValue(
            "a window in the foreground",
            {"completion_window": "2h"},
            "invalid_value",
            WINDOW_PARAM,
            {"background": False},
        ),
        WrongValue(
            "a window and `no-limit`",
            {"completion_window": "8h"},
            "invalid_value",
            WINDOW_PARAM,
            {"service_tier": "no-limit"},
        ),
        WrongValue(
            "a window and `priority`",
            {"completion_window": "8h"},
            "invalid_value",
            WINDOW_PARAM,
            {"service_tier": "priority"},
        ),
        WrongValue("a number for ID", {"continuation_id": 5}, "invalid_type", "background_options.continuation_id"),
        WrongValue(
            "an ID of 257 characters",
            {"continuation_id": "c" * 257},
            "string_above_max_length",
            "background_options.continuation_id",
        ),
    ),
    proof=("test_a_completion_window_sets_the_tier_flex_and_the_deadline",),
)
STREAM_OPTIONS = Parameter(
    "stream_options",
    "`include_obfuscation`, with `stream`",
    "no effect: events are not padded",
    accepted_values=(AcceptedValue(None, NOT_ECHOED),),
    wrong_values=(
        *types_except("an object"),
        WrongValue("an empty object without a stream", {}, "invalid_value"),
        WrongValue("options without a stream", {"include_obfuscation": False}, "invalid_value"),
        WrongValue(
            "a string for include_obfuscation",
            {"include_obfuscation": "no"},
            "invalid_type",
            "stream_options.include_obfuscation",
        ),
    ),
    proof=("test_stream_options_are_accepted_and_add_no_obfuscation",),
)
CACHE_OPTIONS = Parameter(
    "prompt_cache_options",
    "`{mode, ttl, comparison_response_id, prewarm}`: mode `implicit`, `explicit`; ttl `30m`, `12h`; prewarm false",
    "echoed; caching is left to the model server",
    accepted_values=(
        AcceptedValue(None, NOT_ECHOED),
        AcceptedValue({}, {"mode": "implicit", "ttl": "30m"}),
        AcceptedValue({"mode": "explicit", "prewarm": False}, {"mode": "explicit", "ttl": "30m"}),
        AcceptedValue({"mode": "explicit", "ttl": "12h", "comparison_response_id": "resp_1"}),
    ),
    wrong_values=(
        *types_except("an object"),
        WrongValue("an unknown mode", {"mode": "off"}, "invalid_value", "prompt_cache_options.mode"),
        WrongValue("a number for ttl", {"ttl": 30}, "invalid_type", "prompt_cache_options.ttl"),
        WrongValue("an unknown ttl", {"ttl": "1h"}, "invalid_value", "prompt_cache_options.ttl"),
        WrongValue("a number for prewarm", {"prewarm": 0}, "invalid_type", "prompt_cache_options.prewarm"),
        WrongValue("true for prewarm", {"prewarm": True}, "unsupported_parameter", "prompt_cache_options.prewarm"),
    ),
    proof=("test_every_valid_value_is_accepted_and_returned",),
)

PARAMETERS = (METADATA, TEXT, REASONING, INCLUDE, BACKGROUND_OPTIONS, STREAM_OPTIONS, CACHE_OPTIONS)
