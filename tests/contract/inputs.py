"""`model` and `input` with its items: messages, parts, tool calls and their outputs, references."""

from typing import Any

from tests.contract.media import INPUT_FILES, INPUT_IMAGES
from tests.contract.rows import NOT_ECHOED, AcceptedValue, Parameter, WrongValue, types_except

# One character more than the limit of a text.
OVERLONG_TEXT_LENGTH = 10_485_761
AUDIO = {"type": "input_audio", "input_audio": {"data": "", "format": "mp3"}}
TEXT = {"type": "input_text", "text": "hi"}
CALL = {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "1"}
CUSTOM_CALL = {"type": "custom_tool_call", "call_id": "call_2", "name": "c", "input": "go"}
CUSTOM_OUTPUT = {"type": "custom_tool_call_output", "call_id": "call_2", "output": "2"}
REASONING = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "so"}]}


def two_messages(**changes: Any) -> list[dict[str, Any]]:
    """Return an input of two messages, with these changes to the second message."""
    return [{"role": "user", "content": "hi"}, {"role": "user", "content": "hi"} | changes]


def message_with_parts(*added: Any) -> list[dict[str, Any]]:
    """Return an input of one message with a text part, followed by these parts."""
    return [{"role": "user", "content": [TEXT, *added]}]


def without_field(item: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Return an input of this item without one of its fields."""
    return [{key: value for key, value in item.items() if key != name}]


def missing_fields(item: dict[str, Any], *names: str) -> tuple[WrongValue, ...]:
    """Return wrong values: the item without each of these fields in turn."""
    return tuple(
        WrongValue(
            f"{item['type']} without {name}",
            without_field(item, name),
            "missing_required_parameter",
            f"input[0].{name}",
        )
        for name in names
    )


def wrong_field(
    item: dict[str, Any], name: str, description: str, value: Any, code: str, suffix: str = ""
) -> WrongValue:
    """Return a wrong value: the item with a wrong value of one field.

    Args:
        suffix: the end of the error's `param`, after the name of the field.
    """
    param = f"input[0].{name}{suffix}"
    return WrongValue(f"{item['type']} with {description} for {name}", [item | {name: value}], code, param)


MODEL = Parameter(
    "model",
    "the name of a configured model",
    "selects the model; required, unless the `prompt` has a model",
    accepted_values=(AcceptedValue("scripted"), AcceptedValue("meta/llama-3")),
    wrong_values=(
        WrongValue("null", None, "missing_required_parameter"),
        *types_except("a string"),
        WrongValue("an unknown name", "gpt-99", "model_not_found"),
        WrongValue("an empty name", "", "model_not_found"),
        WrongValue("a name in different case", "Scripted", "model_not_found"),
        WrongValue("a name with NUL", "scripted\0", "model_not_found"),
        WrongValue("a name over 256 characters", "m" * 1_000_000, "string_above_max_length"),
    ),
    proof=("test_a_response_has_every_key_and_the_right_values_at_every_status",),
)

WRONG_MESSAGES = (
    WrongValue("a message without a role", [{"content": "hi"}], "missing_required_parameter", "input[0].role"),
    WrongValue("an empty message", [{}], "missing_required_parameter", "input[0].role"),
    WrongValue("a message with an unknown role", two_messages(role="nobody"), "invalid_value", "input[1].role"),
    WrongValue("a message with role `tool`", two_messages(role="tool"), "invalid_value", "input[1].role"),
    WrongValue("an array for role", two_messages(role=["user"]), "invalid_type", "input[1].role"),
    WrongValue("a message without content", [{"role": "user"}], "missing_required_parameter", "input[0].content"),
    WrongValue("null for content", two_messages(content=None), "missing_required_parameter", "input[1].content"),
    WrongValue("a number for content", two_messages(content=5), "invalid_type", "input[1].content"),
    WrongValue("a boolean for content", two_messages(content=True), "invalid_type", "input[1].content"),
    WrongValue("a single part for content", two_messages(content=TEXT), "invalid_type", "input[1].content"),
    WrongValue(
        "content over the limit",
        two_messages(content="x" * OVERLONG_TEXT_LENGTH),
        "string_above_max_length",
        "input[1].content",
    ),
    WrongValue("an unknown status", two_messages(status="done"), "invalid_value", "input[1].status"),
    WrongValue("an unknown phase", two_messages(phase="late"), "invalid_value", "input[1].phase"),
    WrongValue("a number for phase", two_messages(phase=1), "invalid_type", "input[1].phase"),
    WrongValue("a number for id", two_messages(id=5), "invalid_type", "input[1].id"),
    WrongValue("an empty id", two_messages(id=""), "string_below_min_length", "input[1].id"),
    WrongValue("an id over 256 characters", two_messages(id="i" * 257), "string_above_max_length", "input[1].id"),
    WrongValue("an id with NUL", two_messages(id="a\0"), "invalid_value", "input[1].id"),
)
WRONG_PARTS = (
    WrongValue("a string for a part", message_with_parts("hi"), "invalid_type", "input[0].content[1]"),
    WrongValue("null for a part", message_with_parts(None), "invalid_type", "input[0].content[1]"),
    WrongValue(
        "a part without a type",
        message_with_parts({"text": "a"}),
        "missing_required_parameter",
        "input[0].content[1].type",
    ),
    WrongValue(
        "a number for a part's type", message_with_parts({"type": 5}), "invalid_type", "input[0].content[1].type"
    ),
    WrongValue(
        "an array for a part's type", message_with_parts({"type": []}), "invalid_type", "input[0].content[1].type"
    ),
    WrongValue("an unknown part", message_with_parts({"type": "song"}), "invalid_value", "input[0].content[1].type"),
    WrongValue("audio", message_with_parts(AUDIO), "invalid_value", "input[0].content[1].type"),
    WrongValue(
        "a part without text",
        message_with_parts({"type": "input_text"}),
        "missing_required_parameter",
        "input[0].content[1].text",
    ),
    WrongValue("a number for text", message_with_parts(TEXT | {"text": 5}), "invalid_type", "input[0].content[1].text"),
    WrongValue(
        "null for text",
        message_with_parts(TEXT | {"text": None}),
        "missing_required_parameter",
        "input[0].content[1].text",
    ),
    WrongValue(
        "a part with a text over the limit",
        message_with_parts(TEXT | {"text": "x" * OVERLONG_TEXT_LENGTH}),
        "string_above_max_length",
        "input[0].content[1].text",
    ),
    WrongValue(
        "an object for annotations",
        message_with_parts({"type": "output_text", "text": "", "annotations": {}}),
        "invalid_type",
        "input[0].content[1].annotations",
    ),
    WrongValue(
        "a refusal without text",
        message_with_parts({"type": "refusal"}),
        "missing_required_parameter",
        "input[0].content[1].refusal",
    ),
)


def wrong_calls_and_outputs() -> tuple[WrongValue, ...]:
    """Return wrong tool calls and wrong tool outputs."""
    values: list[WrongValue] = []
    for call, text in ((CALL, "arguments"), (CUSTOM_CALL, "input")):
        values += [
            *missing_fields(call, "call_id", "name", text),
            wrong_field(call, "call_id", "a number", 5, "invalid_type"),
            wrong_field(call, "call_id", "an empty string", "", "string_below_min_length"),
            wrong_field(call, "call_id", "65 characters", "c" * 65, "string_above_max_length"),
            wrong_field(call, "name", "a space", "a b", "invalid_value"),
            wrong_field(call, "name", "129 characters", "n" * 129, "string_above_max_length"),
            wrong_field(call, text, "an object", {}, "invalid_type"),
            wrong_field(call, text, "a text over the limit", "x" * OVERLONG_TEXT_LENGTH, "string_above_max_length"),
            wrong_field(call, "status", "an unknown value", "done", "invalid_value"),
            wrong_field(call, "id", "a boolean", True, "invalid_type"),
        ]
    for output, call in ((OUTPUT, CALL), (CUSTOM_OUTPUT, CUSTOM_CALL)):
        values += [
            *missing_fields(output, "call_id", "output"),
            wrong_field(output, "call_id", "65 characters", "c" * 65, "string_above_max_length"),
            wrong_field(output, "output", "an object", {"a": 1}, "invalid_type"),
            wrong_field(output, "output", "a number", 5, "invalid_type"),
            wrong_field(
                output, "output", "a text over the limit", "x" * OVERLONG_TEXT_LENGTH, "string_above_max_length"
            ),
            wrong_field(output, "output", "audio", [TEXT, AUDIO], "invalid_value", "[1].type"),
            wrong_field(
                output, "output", "an `output_text` part", [{"type": "output_text"}], "invalid_value", "[0].type"
            ),
            wrong_field(output, "output", "a string as a part", ["x"], "invalid_type", "[0]"),
            WrongValue(f"{output['type']} without its call", [output], "invalid_value", "input"),
            WrongValue(f"{output['type']} before its call", [output, call], "invalid_value", "input"),
            WrongValue(
                f"{output['type']} of another call_id", [call, output | {"call_id": "call_9"}], "invalid_value", "input"
            ),
        ]
    values.append(WrongValue("function_call_output of a custom call", [CUSTOM_CALL, OUTPUT], "invalid_value", "input"))
    return tuple(values)


WRONG_OTHER_ITEMS = (
    wrong_field(REASONING, "summary", "a string", "so", "invalid_type"),
    wrong_field(REASONING, "summary", "a part of another type", [TEXT], "invalid_value", "[0].type"),
    wrong_field(REASONING, "content", "a part of another type", [TEXT], "invalid_value", "[0].type"),
    wrong_field(REASONING, "encrypted_content", "a number", 5, "invalid_type"),
    WrongValue("item_reference without id", [{"type": "item_reference"}], "missing_required_parameter", "input[0].id"),
    WrongValue(
        "item_reference with a number for id", [{"type": "item_reference", "id": 5}], "invalid_type", "input[0].id"
    ),
    WrongValue(
        "item_reference to an unknown item",
        [TEXT | {"type": "item_reference", "id": "m"}],
        "invalid_value",
        "input[0].id",
    ),
    WrongValue(
        "item_reference without a type to an unknown item",
        [*two_messages(), {"id": "m"}],
        "invalid_value",
        "input[2].id",
    ),
    WrongValue("item_reference with NUL", [{"id": "m\0"}], "invalid_value", "input[0].id"),
    WrongValue("an unknown item", [{"type": "telepathy"}], "invalid_value", "input[0].type"),
    WrongValue("an unknown item with a message's fields", two_messages(type="note"), "invalid_value", "input[1].type"),
    WrongValue("an item with a number for type", two_messages(type=5), "invalid_type", "input[1].type"),
    WrongValue("an item with an object for type", two_messages(type={}), "invalid_type", "input[1].type"),
    WrongValue(
        "a hosted tool's item with a number for id", [{"type": "mcp_call", "id": 5}], "invalid_type", "input[0].id"
    ),
)


def input_row(
    part: str,
    values: str,
    effect: str,
    accepted_values: tuple[Any, ...],
    wrong_values: tuple[WrongValue, ...],
    *proof: str,
) -> Parameter:
    """Return the row for a part of the parameter `input`, which is not echoed."""
    unechoed_values = tuple(AcceptedValue(value, NOT_ECHOED) for value in accepted_values)
    return Parameter("input", values, effect, unechoed_values, wrong_values, proof, part)


INPUT = input_row(
    "",
    "a text of up to 10,485,760 characters, or 1 to 10,000 items",
    "the input of the model; required unless there is a `previous_response_id` or a `prompt`",
    ("", "x" * (OVERLONG_TEXT_LENGTH - 1), "NUL \0, line\u2028end, 😀, \ufffe, \u202e"),
    (
        WrongValue("null", None, "missing_required_parameter"),
        *types_except("a string", "an array"),
        WrongValue("an empty array", [], "array_below_min_length"),
        WrongValue("10,001 items", two_messages() * 5000 + two_messages()[:1], "array_above_max_length"),
        WrongValue("a text over the limit", "x" * OVERLONG_TEXT_LENGTH, "string_above_max_length"),
        WrongValue("strings as items", ["hi"], "invalid_type", "input[0]"),
        WrongValue("arrays as items", [[]], "invalid_type", "input[0]"),
        WrongValue("nulls as items", [None], "invalid_type", "input[0]"),
        WrongValue("1,000,000 numbers", [1] * 1_000_000, "invalid_type", "input[0]"),
    ),
    "test_a_text_is_listed_as_one_user_message",
    "test_instructions_become_the_first_system_message",
)
INPUT_MESSAGES = input_row(
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
    WRONG_MESSAGES,
    "test_every_kind_of_item_is_listed_with_an_id_and_a_status",
    "test_a_message_has_the_joined_text_of_its_parts_and_developer_becomes_system",
    "test_ids_from_the_client_are_listed_without_duplicates",
)
INPUT_PARTS = input_row(
    "parts of messages",
    "`input_text`, `output_text`, `refusal`; `input_image` and `input_file`: see below",
    "joined into one text; audio is refused",
    (
        [{"type": "message", "role": "user", "content": [TEXT]}],
        [{"role": "assistant", "content": [{"type": "output_text", "text": "a", "annotations": []}]}],
        [{"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}],
    ),
    WRONG_PARTS,
    "test_a_message_has_the_joined_text_of_its_parts_and_developer_becomes_system",
    "test_a_refusal_becomes_the_content_of_an_assistant_message",
)
INPUT_CALLS = input_row(
    "tool calls and their outputs",
    "`function_call`, `custom_tool_call` and their outputs (`…_output`), each a text, or parts with text, images and "
    "files; an output must follow its call in `input` or in the chain",
    "turns of the assistant and of its tools",
    (
        [CALL, OUTPUT, CUSTOM_CALL, CUSTOM_OUTPUT],
        [CALL, CALL | {"call_id": "c" * 64}, OUTPUT | {"output": [TEXT, TEXT]}, OUTPUT],
    ),
    wrong_calls_and_outputs(),
    "test_a_call_and_its_output_become_an_assistant_message_and_a_tool_message",
    "test_the_output_of_a_call_is_accepted_with_its_call_or_in_the_next_request",
)
INPUT_OTHER_ITEMS = input_row(
    "other items",
    "`reasoning`, with `encrypted_content` of this project or without it; `item_reference`; items of hosted tools",
    "a reference is replaced by an item of a stored response of the project; other items are stored and listed, but "
    "not sent to the model, except `reasoning` to models that support it",
    (
        [REASONING | {"content": [{"type": "reasoning_text", "text": "r"}]}],
        [{"type": "web_search_call", "id": "ws_1", "action": {"type": "search", "query": None}}],
        [{"type": "mcp_list_tools", "server_label": "a", "tools": [{"x": [1, {}]}], "error": None}],
    ),
    WRONG_OTHER_ITEMS,
    "test_an_item_of_any_stored_response_can_be_referenced",
    "test_a_foreign_item_gets_the_same_answer_as_an_unknown_item",
    "test_an_item_of_a_hosted_tool_is_listed_unchanged",
    "test_reasoning_and_items_of_hosted_tools_are_not_sent",
    "test_a_model_receives_its_reasoning_from_an_item_without_text",
    "test_encrypted_content_from_another_server_is_rejected",
)

PARAMETERS = (MODEL, INPUT, INPUT_MESSAGES, INPUT_PARTS, INPUT_IMAGES, INPUT_FILES, INPUT_CALLS, INPUT_OTHER_ITEMS)
