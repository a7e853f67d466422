"""Parameters with a scalar value: booleans, numbers, names and texts."""

from tests.contract.rows import NOT_ECHOED, AcceptedValue, Parameter, WrongValue, types_except

# One character more than the limit of a text.
OVERLONG_TEXT_LENGTH = 10_485_761


def number_parameter(name: str, minimum: float, maximum: float, effect: str, proof: str) -> Parameter:
    """Return a parameter that is a number from `minimum` to `maximum`."""
    return Parameter(
        name,
        f"a number from {minimum} to {maximum}",
        effect,
        accepted_values=tuple(AcceptedValue(value) for value in (minimum, maximum, (minimum + maximum) / 3, 0.25)),
        wrong_values=(
            *types_except("an integer", "a decimal"),
            WrongValue("a number as a string", "1", "invalid_type"),
            WrongValue(f"{minimum - 0.01:g}", minimum - 0.01, "decimal_below_min_value"),
            WrongValue(f"{minimum - 1:g}", minimum - 1, "decimal_below_min_value"),
            WrongValue(f"{maximum + 0.01:g}", maximum + 0.01, "decimal_above_max_value"),
            WrongValue("10^300", 1e300, "decimal_above_max_value"),
        ),
        proof=(proof,),
    )


def integer_parameter(name: str, minimum: int, effect: str, proof: str) -> Parameter:
    """Return a parameter that is an integer of at least `minimum`."""
    return Parameter(
        name,
        f"an integer from {minimum} to 2,147,483,647",
        effect,
        accepted_values=(AcceptedValue(minimum), AcceptedValue(100), AcceptedValue(2**31 - 1)),
        wrong_values=(
            *types_except("an integer"),
            WrongValue("an integral decimal", 100.0, "invalid_type"),
            WrongValue("a number as a string", "100", "invalid_type"),
            WrongValue(f"{minimum - 1}", minimum - 1, "integer_below_min_value"),
            WrongValue("-2^63", -(2**63), "integer_below_min_value"),
            WrongValue("2^31", 2**31, "integer_above_max_value"),
            WrongValue("2^64-1", 2**64 - 1, "integer_above_max_value"),
            WrongValue("10^30", 10**30, "invalid_type"),
        ),
        proof=(proof,),
    )


def boolean_parameter(
    name: str,
    effect: str,
    *proof: str,
    wrong_values: tuple[WrongValue, ...] = (),
    accepted_values: tuple[AcceptedValue, ...] = (),
) -> Parameter:
    """Return a parameter that is true or false."""
    wrong_values = (
        *types_except("a boolean"),
        WrongValue("true as a string", "true", "invalid_type"),
        WrongValue("0", 0, "invalid_type"),
        *wrong_values,
    )
    accepted_values = (AcceptedValue(True), *accepted_values)
    return Parameter(name, "true or false", effect, accepted_values, wrong_values, proof)


def text_parameter(name: str, max_length: int, effect: str, *proof: str) -> Parameter:
    """Return a parameter that is a text of at most `max_length` characters."""
    return Parameter(
        name,
        f"a text of up to {max_length:,} characters",
        effect,
        accepted_values=(
            AcceptedValue(""),
            AcceptedValue("é\0" + "x" * (min(max_length, 1000) - 2)),
            AcceptedValue("x" * max_length),
        ),
        wrong_values=(
            *types_except("a string"),
            WrongValue(f"{max_length + 1:,} characters", "x" * (max_length + 1), "string_above_max_length"),
        ),
        proof=proof,
    )


BACKGROUND = boolean_parameter(
    "background",
    "true: the reply is immediate, with status `queued`; false (default): the reply is the ended response",
    "test_a_new_response_is_queued_and_contains_the_defaults",
    "test_a_foreground_request_waits_and_returns_the_ended_response",
)
STORE = boolean_parameter(
    "store",
    "false: the response is deleted after the reply; it cannot be retrieved, listed, chained or referenced. "
    "Default: true",
    "test_an_unstored_response_is_returned_once_and_cannot_be_retrieved",
    accepted_values=(AcceptedValue(None, True),),
    wrong_values=(WrongValue("false with `background`", False, "unsupported_parameter", "background"),),
)
STREAM = Parameter(
    "stream",
    "true or false",
    "the reply is the stream of the response's events; a client that disconnects cancels a foreground response, but "
    "not a background response",
    accepted_values=(AcceptedValue(False, NOT_ECHOED), AcceptedValue(None, NOT_ECHOED)),
    wrong_values=types_except("a boolean"),
    proof=(
        "test_a_create_with_stream_receives_its_events_as_they_are_written",
        "test_a_background_response_completes_after_its_reader_disconnects",
        "test_a_foreground_response_is_cancelled_after_its_reader_disconnects",
    ),
)

TOP_LOGPROBS = Parameter(
    "top_logprobs",
    "an integer from 0 to 20",
    "the number of alternatives to each token of the text, with log probabilities; values from 1 imply `include` of "
    "`message.output_text.logprobs`",
    accepted_values=(AcceptedValue(0), AcceptedValue(1), AcceptedValue(20), AcceptedValue(None, 0)),
    wrong_values=(
        *types_except("an integer"),
        WrongValue("-1", -1, "integer_below_min_value"),
        WrongValue("21", 21, "integer_above_max_value"),
        WrongValue("an integral decimal", 5.0, "invalid_type"),
    ),
    proof=("test_only_the_requested_log_probabilities_are_returned",),
)
TRUNCATION = Parameter(
    "truncation",
    "`disabled` or `auto`",
    "`auto`: a context too long for the model is retried without the oldest turns; `disabled` (default): it fails with "
    "`context_length_exceeded`",
    accepted_values=(AcceptedValue("auto"), AcceptedValue("disabled"), AcceptedValue(None, "disabled")),
    wrong_values=(*types_except("a string"), WrongValue("an unknown value", "oldest", "invalid_value")),
    proof=(
        "test_auto_drops_the_oldest_turns_and_records_them",
        "test_a_context_that_cannot_fit_fails_with_context_length_exceeded",
    ),
)
MAX_OUTPUT_TOKENS = integer_parameter(
    "max_output_tokens",
    16,
    "sent as `max_tokens`; a response that reaches it is `incomplete`",
    "test_numbers_are_sent_in_the_fields_of_chat_completions",
)
MAX_TOOL_CALLS = integer_parameter(
    "max_tool_calls", 0, "echoed; no built-in tools are run", "test_every_valid_value_is_accepted_and_returned"
)
TEMPERATURE = number_parameter(
    "temperature", 0, 2, "sent; default 1", "test_numbers_are_sent_in_the_fields_of_chat_completions"
)
TOP_P = number_parameter("top_p", 0, 1, "sent; default 1", "test_numbers_are_sent_in_the_fields_of_chat_completions")
PRESENCE_PENALTY = number_parameter(
    "presence_penalty", -2, 2, "sent; default 0", "test_a_penalty_is_sent_unless_it_is_zero"
)
FREQUENCY_PENALTY = number_parameter(
    "frequency_penalty", -2, 2, "sent; default 0", "test_a_penalty_is_sent_unless_it_is_zero"
)
PARALLEL_TOOL_CALLS = Parameter(
    "parallel_tool_calls",
    "true or false",
    "sent if there are tools; default true",
    accepted_values=(AcceptedValue(True), AcceptedValue(False)),
    wrong_values=(*types_except("a boolean"), WrongValue("1", 1, "invalid_type")),
    proof=("test_function_tools_and_custom_tools_are_offered_but_hosted_tools_are_not",),
)
INSTRUCTIONS = text_parameter(
    "instructions",
    OVERLONG_TEXT_LENGTH - 1,
    "sent as the first message, with role `system`; not inherited in a chain",
    "test_instructions_become_the_first_system_message",
    "test_instructions_are_not_inherited",
)
SAFETY_IDENTIFIER = text_parameter("safety_identifier", 128, "sent and echoed", "test_identifiers_are_passed_on")
CACHE_KEY = text_parameter("prompt_cache_key", 64, "sent and echoed", "test_identifiers_are_passed_on")
USER = text_parameter("user", 512, "sent and echoed", "test_identifiers_are_passed_on")
PREVIOUS_RESPONSE = Parameter(
    "previous_response_id",
    "the ID of an ended, stored response of the project",
    "the context of this response and its finished output come before the input",
    wrong_values=(
        *types_except("a string"),
        WrongValue("an unknown ID", "resp_" + "0" * 48, "previous_response_not_found"),
        WrongValue("a malformed ID", "x", "previous_response_not_found"),
        WrongValue("an empty ID", "", "previous_response_not_found"),
        WrongValue("an ID with NUL", "resp_\0", "previous_response_not_found"),
        WrongValue("a conversation's ID", "conv_1", "previous_response_not_found"),
        WrongValue("257 characters", "r" * 257, "string_above_max_length"),
    ),
    proof=(
        "test_a_context_contains_the_inputs_and_outputs_of_all_ancestors",
        "test_two_children_of_one_parent_are_independent",
        "test_a_parent_that_has_not_ended_is_rejected",
        "test_a_foreign_parent_gets_the_same_answer_as_an_unknown_parent",
    ),
)
SERVICE_TIER = Parameter(
    "service_tier",
    "`auto`, `default`, `flex`, `no-limit`; OpenAI's `priority`, `scale`, `fast`, `ultrafast`",
    "the priority in dispatch; the response contains the granted tier. Over the project's limits, `default` is refused "
    "with 429, and so is `auto`, unless spare capacity allows `over-limit`; `flex` uses no credits. `no-limit` "
    "requires a key with that right, otherwise 403; `over-limit` occurs only in responses",
    accepted_values=(
        AcceptedValue(None, "default"),
        AcceptedValue("auto", "default"),
        AcceptedValue("default"),
        AcceptedValue("flex"),
        *(AcceptedValue(name, "default") for name in ("priority", "scale", "fast", "ultrafast")),
    ),
    wrong_values=(
        *types_except("a string"),
        WrongValue("an empty name", "", "invalid_value"),
        WrongValue("an unknown name", "gold", "invalid_value"),
        WrongValue("a name in different case", "Auto", "invalid_value"),
        WrongValue("a very long name", "gold" * 100_000, "invalid_value"),
        WrongValue("`over-limit`", "over-limit", "invalid_value"),
    ),
    proof=(
        "test_a_new_response_contains_its_assigned_tier",
        "test_the_tier_no_limit_requires_the_right",
        "test_an_auto_request_is_over_limit_while_there_is_spare_capacity",
        "test_a_flex_request_takes_no_credits_and_is_rejected_only_by_a_full_queue",
        "test_limits_do_not_apply_to_the_tier_no_limit",
        "test_the_tier_over_limit_cannot_be_requested",
    ),
)
CACHE_RETENTION = Parameter(
    "prompt_cache_retention",
    "`in_memory`, `24h`",
    "echoed; caching is left to the model server",
    accepted_values=(AcceptedValue("in_memory"), AcceptedValue("24h")),
    wrong_values=(*types_except("a string"), WrongValue("an unknown value", "48h", "invalid_value")),
    proof=("test_every_valid_value_is_accepted_and_returned",),
)

PARAMETERS = (
    INSTRUCTIONS,
    PREVIOUS_RESPONSE,
    BACKGROUND,
    STORE,
    STREAM,
    MAX_OUTPUT_TOKENS,
    MAX_TOOL_CALLS,
    TEMPERATURE,
    TOP_P,
    TOP_LOGPROBS,
    PRESENCE_PENALTY,
    FREQUENCY_PENALTY,
    PARALLEL_TOOL_CALLS,
    TRUNCATION,
    SERVICE_TIER,
    SAFETY_IDENTIFIER,
    CACHE_KEY,
    CACHE_RETENTION,
    USER,
)
