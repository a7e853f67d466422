"""`model`, `input` and what comes in it: messages, parts, tool calls and their outputs, references."""

from typing import Any

from tests.contract.media import INPUT_FILES, INPUT_IMAGES
from tests.contract.rows import UNSAID, Good, Parameter, Wrong, not_of

LONG = 10_485_761
AUDIO = {"type": "input_audio", "input_audio": {"data": "", "format": "mp3"}}
TEXT = {"type": "input_text", "text": "hi"}
CALL = {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "1"}
CUSTOM_CALL = {"type": "custom_tool_call", "call_id": "call_2", "name": "c", "input": "go"}
CUSTOM_OUTPUT = {"type": "custom_tool_call_output", "call_id": "call_2", "output": "2"}
REASONING = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "so"}]}


def message(**changes: Any) -> list[dict[str, Any]]:
    """Two messages, of which the second has these changes."""
    return [{"role": "user", "content": "hi"}, {"role": "user", "content": "hi"} | changes]


def parts(*last: Any) -> list[dict[str, Any]]:
    """A message of a good part and these."""
    return [{"role": "user", "content": [TEXT, *last]}]


def without(item: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [{key: value for key, value in item.items() if key != name}]


def missing(item: dict[str, Any], *names: str) -> tuple[Wrong, ...]:
    """An item without each of these fields."""
    return tuple(
        Wrong(f"{item['type']} without {name}", without(item, name), "missing_required_parameter", f"input[0].{name}")
        for name in names
    )


def wrong_field(item: dict[str, Any], name: str, what: str, value: Any, code: str, under: str = "") -> Wrong:
    """An item whose field has this value."""
    return Wrong(f"{item['type']} with {what} for {name}", [item | {name: value}], code, f"input[0].{name}{under}")


MODEL = Parameter(
    "model",
    "the name of a configured model",
    "selects the model; required, here or by `prompt`",
    good=(Good("scripted"), Good("meta/llama-3")),
    wrong=(
        Wrong("null", None, "missing_required_parameter"),
        *not_of("a string"),
        Wrong("an unknown name", "gpt-99", "model_not_found"),
        Wrong("an empty name", "", "model_not_found"),
        Wrong("a name in different case", "Scripted", "model_not_found"),
        Wrong("a name with NUL", "scripted\0", "model_not_found"),
        Wrong("a name over 256 characters", "m" * 1_000_000, "string_above_max_length"),
    ),
    proof=("test_a_response_has_every_key_and_the_right_values_at_every_status",),
)

MESSAGES = (
    Wrong("a message without a role", [{"content": "hi"}], "missing_required_parameter", "input[0].role"),
    Wrong("an empty message", [{}], "missing_required_parameter", "input[0].role"),
    Wrong("a message with an unknown role", message(role="nobody"), "invalid_value", "input[1].role"),
    Wrong("a message with role `tool`", message(role="tool"), "invalid_value", "input[1].role"),
    Wrong("an array for role", message(role=["user"]), "invalid_type", "input[1].role"),
    Wrong("a message without content", [{"role": "user"}], "missing_required_parameter", "input[0].content"),
    Wrong("null for content", message(content=None), "missing_required_parameter", "input[1].content"),
    Wrong("a number for content", message(content=5), "invalid_type", "input[1].content"),
    Wrong("a boolean for content", message(content=True), "invalid_type", "input[1].content"),
    Wrong("a single part for content", message(content=TEXT), "invalid_type", "input[1].content"),
    Wrong("too long content", message(content="x" * LONG), "string_above_max_length", "input[1].content"),
    Wrong("an unknown status", message(status="done"), "invalid_value", "input[1].status"),
    Wrong("an unknown phase", message(phase="late"), "invalid_value", "input[1].phase"),
    Wrong("a number for phase", message(phase=1), "invalid_type", "input[1].phase"),
    Wrong("a number for id", message(id=5), "invalid_type", "input[1].id"),
    Wrong("an empty id", message(id=""), "string_below_min_length", "input[1].id"),
    Wrong("an id over 256 characters", message(id="i" * 257), "string_above_max_length", "input[1].id"),
    Wrong("an id with NUL", message(id="a\0"), "invalid_value", "input[1].id"),
)
PARTS = (
    Wrong("a string for a part", parts("hi"), "invalid_type", "input[0].content[1]"),
    Wrong("null for a part", parts(None), "invalid_type", "input[0].content[1]"),
    Wrong("a part without a type", parts({"text": "a"}), "missing_required_parameter", "input[0].content[1].type"),
    Wrong("a number for a part's type", parts({"type": 5}), "invalid_type", "input[0].content[1].type"),
    Wrong("an array for a part's type", parts({"type": []}), "invalid_type", "input[0].content[1].type"),
    Wrong("an unknown part", parts({"type": "song"}), "invalid_value", "input[0].content[1].type"),
    Wrong("audio", parts(AUDIO), "invalid_value", "input[0].content[1].type"),
    Wrong(
        "a part without text",
        parts({"type": "input_text"}),
        "missing_required_parameter",
        "input[0].content[1].text",
    ),
    Wrong("a number for text", parts(TEXT | {"text": 5}), "invalid_type", "input[0].content[1].text"),
    Wrong("null for text", parts(TEXT | {"text": None}), "missing_required_parameter", "input[0].content[1].text"),
    Wrong(
        "a part with too long text",
        parts(TEXT | {"text": "x" * LONG}),
        "string_above_max_length",
        "input[0].content[1].text",
    ),
    Wrong(
        "an object for annotations",
        parts({"type": "output_text", "text": "", "annotations": {}}),
        "invalid_type",
        "input[0].content[1].annotations",
    ),
    Wrong(
        "a refusal without text",
        parts({"type": "refusal"}),
        "missing_required_parameter",
        "input[0].content[1].refusal",
    ),
)


def calls_and_outputs() -> tuple[Wrong, ...]:
    """What can be wrong with a tool's call, and with its output."""
    found: list[Wrong] = []
    for call, text in ((CALL, "arguments"), (CUSTOM_CALL, "input")):
        found += [
            *missing(call, "call_id", "name", text),
            wrong_field(call, "call_id", "a number", 5, "invalid_type"),
            wrong_field(call, "call_id", "an empty string", "", "string_below_min_length"),
            wrong_field(call, "call_id", "65 characters", "c" * 65, "string_above_max_length"),
            wrong_field(call, "name", "a space", "a b", "invalid_value"),
            wrong_field(call, "name", "129 characters", "n" * 129, "string_above_max_length"),
            wrong_field(call, text, "an object", {}, "invalid_type"),
            wrong_field(call, text, "too much", "x" * LONG, "string_above_max_length"),
            wrong_field(call, "status", "an unknown word", "done", "invalid_value"),
            wrong_field(call, "id", "a boolean", True, "invalid_type"),
        ]
    for output, call in ((OUTPUT, CALL), (CUSTOM_OUTPUT, CUSTOM_CALL)):
        found += [
            *missing(output, "call_id", "output"),
            wrong_field(output, "call_id", "65 characters", "c" * 65, "string_above_max_length"),
            wrong_field(output, "output", "an object", {"a": 1}, "invalid_type"),
            wrong_field(output, "output", "a number", 5, "invalid_type"),
            wrong_field(output, "output", "too much", "x" * LONG, "string_above_max_length"),
            wrong_field(output, "output", "audio", [TEXT, AUDIO], "invalid_value", "[1].type"),
            wrong_field(output, "output", "an output's text", [{"type": "output_text"}], "invalid_value", "[0].type"),
            wrong_field(output, "output", "a string part", ["x"], "invalid_type", "[0]"),
            Wrong(f"{output['type']} without its call", [output], "invalid_value", "input"),
            Wrong(f"{output['type']} before its call", [output, call], "invalid_value", "input"),
            Wrong(
                f"{output['type']} of another call_id", [call, output | {"call_id": "call_9"}], "invalid_value", "input"
            ),
        ]
    found.append(Wrong("function_call_output of a custom call", [CUSTOM_CALL, OUTPUT], "invalid_value", "input"))
    return tuple(found)


OTHERS = (
    wrong_field(REASONING, "summary", "a string", "so", "invalid_type"),
    wrong_field(REASONING, "summary", "another part", [TEXT], "invalid_value", "[0].type"),
    wrong_field(REASONING, "content", "another part", [TEXT], "invalid_value", "[0].type"),
    wrong_field(REASONING, "encrypted_content", "a number", 5, "invalid_type"),
    Wrong("item_reference without id", [{"type": "item_reference"}], "missing_required_parameter", "input[0].id"),
    Wrong("item_reference with a number for id", [{"type": "item_reference", "id": 5}], "invalid_type", "input[0].id"),
    Wrong(
        "item_reference to an unknown item",
        [TEXT | {"type": "item_reference", "id": "m"}],
        "invalid_value",
        "input[0].id",
    ),
    Wrong(
        "item_reference without a type to an unknown item", [*message(), {"id": "m"}], "invalid_value", "input[2].id"
    ),
    Wrong("item_reference with NUL", [{"id": "m\0"}], "invalid_value", "input[0].id"),
    Wrong("an unknown item", [{"type": "telepathy"}], "invalid_value", "input[0].type"),
    Wrong("an unknown item with a message's fields", message(type="note"), "invalid_value", "input[1].type"),
    Wrong("an item with a number for type", message(type=5), "invalid_type", "input[1].type"),
    Wrong("an item with an object for type", message(type={}), "invalid_type", "input[1].type"),
    Wrong("a hosted tool's item with a number for id", [{"type": "mcp_call", "id": 5}], "invalid_type", "input[0].id"),
)


def row(about: str, takes: str, effect: str, good: tuple[Any, ...], wrong: tuple[Wrong, ...], *proof: str) -> Parameter:
    """A part of what `input` takes; responses say nothing of it."""
    return Parameter("input", takes, effect, tuple(Good(value, UNSAID) for value in good), wrong, proof, about)


INPUT = row(
    "",
    "a text of up to 10,485,760 characters, or 1 to 10,000 items",
    "the input of the model; required unless there is a `previous_response_id`",
    ("", "x" * (LONG - 1), "NUL \0, line\u2028end, 😀, \ufffe, \u202e"),
    (
        Wrong("null", None, "missing_required_parameter"),
        *not_of("a string", "an array"),
        Wrong("an empty array", [], "array_below_min_length"),
        Wrong("10,001 items", message() * 5000 + message()[:1], "array_above_max_length"),
        Wrong("too long a text", "x" * LONG, "string_above_max_length"),
        Wrong("strings", ["hi"], "invalid_type", "input[0]"),
        Wrong("arrays", [[]], "invalid_type", "input[0]"),
        Wrong("nulls", [None], "invalid_type", "input[0]"),
        Wrong("1,000,000 numbers", [1] * 1_000_000, "invalid_type", "input[0]"),
    ),
    "test_a_text_is_listed_as_one_message_of_the_user",
    "test_instructions_become_the_first_system_message",
)
INPUT_MESSAGES = row(
    "messages",
    "role `user`, `assistant`, `system`, `developer`; content is a text or parts; `id`, `status`, `phase`; `type` may "
    "be omitted",
    "turns of the conversation; `developer` is sent as `system`",
    (
        [{"role": role, "content": "hi"} for role in ("user", "assistant", "system", "developer")],
        [{"type": None, "role": "user", "content": "hi", "id": None, "unknown": 1}],
        [{"role": "user", "content": []}],
        [{"role": "assistant", "content": "a", "phase": "commentary", "status": "incomplete"}],
        [{"role": "user", "content": "a", "id": "i" * 256}],
    ),
    MESSAGES,
    "test_every_kind_of_item_is_listed_with_an_id_and_a_status",
    "test_a_message_has_the_joined_text_of_its_parts_and_developer_becomes_system",
    "test_a_clients_own_ids_are_kept_and_an_id_given_twice_counts_once",
)
INPUT_PARTS = row(
    "parts of messages",
    "`input_text`, `output_text`, `refusal`; `input_image` and `input_file`: see below",
    "joined to one text; audio is refused",
    (
        [{"type": "message", "role": "user", "content": [TEXT]}],
        [{"role": "assistant", "content": [{"type": "output_text", "text": "a", "annotations": []}]}],
        [{"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}],
    ),
    PARTS,
    "test_a_message_has_the_joined_text_of_its_parts_and_developer_becomes_system",
    "test_a_refusal_becomes_the_content_of_an_assistant_message",
)
INPUT_CALLS = row(
    "tool calls and their outputs",
    "`function_call`, `custom_tool_call` and their `…_output`: a text, or parts that are text, images and files; each "
    "output after its call, here or earlier in the chain",
    "turns of the assistant and of its tools",
    (
        [CALL, OUTPUT, CUSTOM_CALL, CUSTOM_OUTPUT],
        [CALL, CALL | {"call_id": "c" * 64}, OUTPUT | {"output": [TEXT, TEXT]}, OUTPUT],
    ),
    calls_and_outputs(),
    "test_a_call_and_its_output_become_an_assistant_message_and_a_tool_message",
    "test_the_output_of_a_call_may_come_in_the_next_response_or_along_with_its_call",
)
INPUT_OTHERS = row(
    "other items",
    "`reasoning`, with an `encrypted_content` of this project or none; `item_reference`; hosted tools' items",
    "a reference is replaced by an item of a stored response of the project; the others are stored and listed, but not "
    "sent to the model",
    (
        [REASONING | {"content": [{"type": "reasoning_text", "text": "r"}]}],
        [{"type": "web_search_call", "id": "ws_1", "action": {"type": "search", "query": None}}],
        [{"type": "mcp_list_tools", "server_label": "a", "tools": [{"x": [1, {}]}], "error": None}],
    ),
    OTHERS,
    "test_an_item_of_any_stored_response_may_be_referred_to",
    "test_an_item_of_another_project_is_as_unknown_as_one_that_never_was",
    "test_an_item_of_a_hosted_tool_is_kept_as_it_is",
    "test_reasoning_and_items_of_hosted_tools_are_not_sent",
    "test_the_model_gets_its_reasoning_back_from_an_item_stripped_of_it",
    "test_an_encrypted_content_that_is_none_of_ours_is_refused",
)

PARAMETERS = (MODEL, INPUT, INPUT_MESSAGES, INPUT_PARTS, INPUT_IMAGES, INPUT_FILES, INPUT_CALLS, INPUT_OTHERS)
