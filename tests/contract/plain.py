"""Parameters with a single value: flags, numbers, names and texts."""

from tests.contract.rows import UNSAID, Good, Parameter, Wrong, types_except

TOO_LONG = 10_485_761  # characters


def number(name: str, minimum: float, maximum: float, effect: str, proof: str) -> Parameter:
    """A parameter that is a number between two bounds."""
    return Parameter(
        name,
        f"a number from {minimum} to {maximum}",
        effect,
        accepted_values=tuple(Good(value) for value in (minimum, maximum, (minimum + maximum) / 3, 0.25)),
        wrong_values=(
            *types_except("an integer", "a decimal"),
            Wrong("a number as a string", "1", "invalid_type"),
            Wrong(f"{minimum - 0.01:g}", minimum - 0.01, "decimal_below_min_value"),
            Wrong(f"{minimum - 1:g}", minimum - 1, "decimal_below_min_value"),
            Wrong(f"{maximum + 0.01:g}", maximum + 0.01, "decimal_above_max_value"),
            Wrong("10^300", 1e300, "decimal_above_max_value"),
        ),
        proof=(proof,),
    )


def integer(name: str, minimum: int, effect: str, proof: str) -> Parameter:
    """A parameter that is an integer of at least `minimum`."""
    return Parameter(
        name,
        f"an integer from {minimum} to 2,147,483,647",
        effect,
        accepted_values=(Good(minimum), Good(100), Good(2**31 - 1)),
        wrong_values=(
            *types_except("an integer"),
            Wrong("an integral decimal", 100.0, "invalid_type"),
            Wrong("a number as a string", "100", "invalid_type"),
            Wrong(f"{minimum - 1}", minimum - 1, "integer_below_min_value"),
            Wrong("-2^63", -(2**63), "integer_below_min_value"),
            Wrong("2^31", 2**31, "integer_above_max_value"),
            Wrong("2^64-1", 2**64 - 1, "integer_above_max_value"),
            Wrong("10^30", 10**30, "invalid_type"),
        ),
        proof=(proof,),
    )


def flag(
    name: str,
    effect: str,
    *proof: str,
    wrong_values: tuple[Wrong, ...] = (),
    accepted_values: tuple[Good, ...] = (),
) -> Parameter:
    """A parameter that is true or false."""
    wrong_values = (
        *types_except("a boolean"),
        Wrong("true as a string", "true", "invalid_type"),
        Wrong("0", 0, "invalid_type"),
        *wrong_values,
    )
    accepted_values = (Good(True), *accepted_values)
    return Parameter(name, "true or false", effect, accepted_values, wrong_values, proof)


def text(name: str, maximum: int, effect: str, *proof: str) -> Parameter:
    """A parameter that is a text of at most `maximum` characters."""
    return Parameter(
        name,
        f"a text of up to {maximum:,} characters",
        effect,
        accepted_values=(Good(""), Good("é\0" + "x" * (min(maximum, 1000) - 2)), Good("x" * maximum)),
        wrong_values=(
            *types_except("a string"),
            Wrong(f"{maximum + 1:,} characters", "x" * (maximum + 1), "string_above_max_length"),
        ),
        proof=proof,
    )


BACKGROUND = flag(
    "background",
    "true: replies immediately with status `queued`; false (default): replies with the ended response",
    "test_a_create_answers_queued_even_with_free_workers_and_states_the_defaults",
    "test_a_foreground_create_waits_and_answers_with_the_ended_response",
)
STORE = flag(
    "store",
    "false: the response is deleted after the reply; it cannot be retrieved, listed, chained or referenced. "
    "Default: true",
    "test_a_response_that_is_not_stored_is_answered_once_and_then_known_to_nobody",
    accepted_values=(Good(None, True),),
    wrong_values=(Wrong("false with `background`", False, "unsupported_parameter", "background"),),
)

TOP_LOGPROBS = Parameter(
    "top_logprobs",
    "an integer from 0 to 20",
    "the number of alternatives to each token of the text, with log probabilities; values from 1 imply `include` of "
    "`message.output_text.logprobs`",
    accepted_values=(Good(0), Good(1), Good(20), Good(None, 0)),
    wrong_values=(
        *types_except("an integer"),
        Wrong("-1", -1, "integer_below_min_value"),
        Wrong("21", 21, "integer_above_max_value"),
        Wrong("an integral decimal", 5.0, "invalid_type"),
    ),
    proof=("test_only_the_requested_log_probabilities_are_returned",),
)
TRUNCATION = Parameter(
    "truncation",
    "`disabled` or `auto`",
    "`auto`: a context too long for the model is retried without the oldest turns; `disabled` (default): it fails with "
    "`context_length_exceeded`",
    accepted_values=(Good("auto"), Good("disabled"), Good(None, "disabled")),
    wrong_values=(*types_except("a string"), Wrong("an unknown value", "oldest", "invalid_value")),
    proof=(
        "test_auto_drops_the_oldest_turns_and_records_them",
        "test_a_context_that_cannot_fit_fails_with_context_length_exceeded",
    ),
)
MAX_OUTPUT_TOKENS = integer(
    "max_output_tokens",
    16,
    "sent as `max_tokens`; a response that reaches it is `incomplete`",
    "test_numbers_are_sent_in_the_fields_of_chat_completions",
)
MAX_TOOL_CALLS = integer(
    "max_tool_calls", 0, "echoed; no built-in tools are run", "test_every_good_value_is_taken_echoed_and_found_again"
)
TEMPERATURE = number("temperature", 0, 2, "sent; default 1", "test_numbers_are_sent_in_the_fields_of_chat_completions")
TOP_P = number("top_p", 0, 1, "sent; default 1", "test_numbers_are_sent_in_the_fields_of_chat_completions")
PRESENCE_PENALTY = number("presence_penalty", -2, 2, "sent; default 0", "test_a_penalty_is_sent_unless_it_is_zero")
FREQUENCY_PENALTY = number("frequency_penalty", -2, 2, "sent; default 0", "test_a_penalty_is_sent_unless_it_is_zero")
PARALLEL_TOOL_CALLS = Parameter(
    "parallel_tool_calls",
    "true or false",
    "sent if there are tools; default true",
    accepted_values=(Good(True), Good(False)),
    wrong_values=(*types_except("a boolean"), Wrong("1", 1, "invalid_type")),
    proof=("test_function_tools_and_custom_tools_are_offered_but_hosted_tools_are_not",),
)
INSTRUCTIONS = text(
    "instructions",
    TOO_LONG - 1,
    "the first message to the model, with role `system`; not inherited along a chain",
    "test_instructions_become_the_first_system_message",
    "test_instructions_are_not_inherited",
)
SAFETY_IDENTIFIER = text("safety_identifier", 128, "sent and echoed", "test_identifiers_are_passed_on")
CACHE_KEY = text("prompt_cache_key", 64, "sent and echoed", "test_identifiers_are_passed_on")
USER = text("user", 512, "sent and echoed", "test_identifiers_are_passed_on")
PREVIOUS_RESPONSE = Parameter(
    "previous_response_id",
    "the ID of an ended, stored response of the project",
    "the parent's context and its finished output come before the input",
    wrong_values=(
        *types_except("a string"),
        Wrong("an unknown ID", "resp_" + "0" * 48, "previous_response_not_found"),
        Wrong("a malformed ID", "x", "previous_response_not_found"),
        Wrong("an empty ID", "", "previous_response_not_found"),
        Wrong("an ID with NUL", "resp_\0", "previous_response_not_found"),
        Wrong("a conversation's ID", "conv_1", "previous_response_not_found"),
        Wrong("257 characters", "r" * 257, "string_above_max_length"),
    ),
    proof=(
        "test_a_chain_is_the_parents_input_its_output_and_the_new_input_all_the_way_down",
        "test_two_forks_of_one_parent_know_nothing_of_each_other",
        "test_a_parent_that_has_not_ended_is_refused",
        "test_a_parent_of_another_project_is_as_unknown_as_one_that_never_was",
    ),
)
SERVICE_TIER = Parameter(
    "service_tier",
    "`auto`, `default`, `flex`, `no-limit`; OpenAI's `priority`, `scale`, `fast`, `ultrafast`",
    "the priority in dispatch; the response contains the granted tier. Over the project's limits, `default` is refused "
    "with 429, and so is `auto`, unless spare capacity allows `over-limit`; `flex` uses no credits. `no-limit` "
    "requires a key with that right, otherwise 403; `over-limit` occurs only in responses",
    accepted_values=(
        Good(None, "default"),
        Good("auto", "default"),
        Good("default"),
        Good("flex"),
        *(Good(name, "default") for name in ("priority", "scale", "fast", "ultrafast")),
    ),
    wrong_values=(
        *types_except("a string"),
        Wrong("an empty name", "", "invalid_value"),
        Wrong("an unknown name", "gold", "invalid_value"),
        Wrong("a name in different case", "Auto", "invalid_value"),
        Wrong("a very long name", "gold" * 100_000, "invalid_value"),
        Wrong("`over-limit`", "over-limit", "invalid_value"),
    ),
    proof=(
        "test_a_response_says_from_the_start_which_tier_it_got",
        "test_no_limit_is_for_keys_with_the_right_and_403_for_others",
        "test_auto_is_over_limit_while_there_is_capacity_to_spare_and_then_refused",
        "test_flex_takes_no_credits_and_is_refused_only_by_a_full_queue",
        "test_limits_do_not_apply_to_no_limit",
        "test_over_limit_is_never_asked_for_even_with_every_right",
    ),
)
CACHE_RETENTION = Parameter(
    "prompt_cache_retention",
    "`in_memory`, `24h`",
    "echoed; the model server decides about caching",
    accepted_values=(Good("in_memory"), Good("24h")),
    wrong_values=(*types_except("a string"), Wrong("an unknown value", "48h", "invalid_value")),
    proof=("test_every_good_value_is_taken_echoed_and_found_again",),
)
CACHE_OPTIONS = Parameter(
    "prompt_cache_options",
    "`{mode, ttl, comparison_response_id, prewarm}`: mode `implicit`, `explicit`; ttl `30m`, `12h`; prewarm false",
    "echoed; the model server decides about caching",
    accepted_values=(
        Good(None, UNSAID),
        Good({}, {"mode": "implicit", "ttl": "30m"}),
        Good({"mode": "explicit", "prewarm": False}, {"mode": "explicit", "ttl": "30m"}),
        Good({"mode": "explicit", "ttl": "12h", "comparison_response_id": "resp_1"}),
    ),
    wrong_values=(
        *types_except("an object"),
        Wrong("an unknown mode", {"mode": "off"}, "invalid_value", "prompt_cache_options.mode"),
        Wrong("a number for ttl", {"ttl": 30}, "invalid_type", "prompt_cache_options.ttl"),
        Wrong("an unknown ttl", {"ttl": "1h"}, "invalid_value", "prompt_cache_options.ttl"),
        Wrong("a number for prewarm", {"prewarm": 0}, "invalid_type", "prompt_cache_options.prewarm"),
        Wrong("prewarm", {"prewarm": True}, "unsupported_parameter", "prompt_cache_options.prewarm"),
    ),
    proof=("test_every_good_value_is_taken_echoed_and_found_again",),
)

PARAMETERS = (
    INSTRUCTIONS,
    PREVIOUS_RESPONSE,
    BACKGROUND,
    STORE,
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
    CACHE_OPTIONS,
    USER,
)
