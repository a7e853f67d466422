"""`tools` and `tool_choice`."""

from typing import Any

from tests.contract.objects import nested_object
from tests.contract.rows import AcceptedValue, Parameter, WrongValue, types_except

FUNCTION = {"type": "function", "name": "f"}
CUSTOM = {"type": "custom", "name": "c"}
SEARCH = {"type": "web_search", "search_context_size": "low"}
SHELL = {"type": "local_shell"}
MCP = {"type": "mcp", "server_label": "deep", "server_url": "https://example.com/mcp"}
FUNCTION_WITH_ALL_FIELDS = {
    "type": "function",
    "name": "weather-2_x",
    "description": "The weather.",
    "parameters": {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]},
    "strict": False,
}
PREVIEW = {"type": "web_search_preview"}
TOOL_FIELDS = {"tools": [FUNCTION, CUSTOM, PREVIEW, MCP]}


def echoed_function(**tool: Any) -> dict[str, Any]:
    """Return a function with every field, as a response contains it."""
    return {"type": "function", "name": "f", "description": None, "parameters": None, "strict": True} | tool


def tools_with(**changes: Any) -> list[dict[str, Any]]:
    """Return a list of a hosted tool and a function with these changes; None removes a field."""
    return [SEARCH, {key: value for key, value in (FUNCTION | changes).items() if value is not None}]


TOOLS = Parameter(
    "tools",
    "up to 128 tools: functions and custom tools with unique names (128 letters, digits, `_`, `-`), and hosted tools",
    "functions and custom tools are offered to the model; hosted tools are echoed, but neither offered nor run",
    accepted_values=(
        AcceptedValue([]),
        AcceptedValue(None, []),
        AcceptedValue([FUNCTION], [echoed_function()]),
        AcceptedValue([FUNCTION | {"strict": None, "description": None, "unknown": 1}], [echoed_function()]),
        AcceptedValue([FUNCTION_WITH_ALL_FIELDS]),
        AcceptedValue(
            [FUNCTION | {"parameters": nested_object(120)}], [echoed_function(parameters=nested_object(120))]
        ),
        AcceptedValue([CUSTOM]),
        AcceptedValue(
            [CUSTOM | {"format": {"type": "grammar", "syntax": "regex", "definition": "a+"}, "description": "d"}]
        ),
        AcceptedValue([SEARCH, SHELL, MCP]),
        AcceptedValue([SEARCH, SEARCH, FUNCTION], [SEARCH, SEARCH, echoed_function()]),
        AcceptedValue(
            [FUNCTION | {"name": f"f{n}"} for n in range(127)] + [FUNCTION | {"name": "n" * 128}],
            [echoed_function(name=f"f{n}") for n in range(127)] + [echoed_function(name="n" * 128)],
        ),
        AcceptedValue([{"type": "namespace", "name": "n", "description": "d", "tools": [FUNCTION]}]),
    ),
    wrong_values=(
        *types_except("an array"),
        WrongValue(
            "an invalid JSON schema", tools_with(parameters={"type": 5}), "invalid_value", "tools[1].parameters"
        ),
        WrongValue(
            "a schema with a dangling reference",
            tools_with(parameters={"$ref": "x"}),
            "invalid_value",
            "tools[1].parameters",
        ),
        WrongValue("strings as tools", ["f"], "invalid_type", "tools[0]"),
        WrongValue("nulls as tools", [None], "invalid_type", "tools[0]"),
        WrongValue("129 tools", [FUNCTION | {"name": f"f{n}"} for n in range(129)], "array_above_max_length"),
        WrongValue("a tool without a type", tools_with(type=None), "missing_required_parameter", "tools[1].type"),
        WrongValue("an unknown type", tools_with(type="telepathy"), "invalid_value", "tools[1].type"),
        WrongValue("a number for type", tools_with(type=5), "invalid_type", "tools[1].type"),
        WrongValue("an array for type", tools_with(type=["function"]), "invalid_type", "tools[1].type"),
        WrongValue(
            "the nested form of Chat Completions",
            [{"type": "function", "function": FUNCTION}],
            "missing_required_parameter",
            "tools[0].name",
        ),
        WrongValue("a function without a name", tools_with(name=None), "missing_required_parameter", "tools[1].name"),
        WrongValue("a number for name", tools_with(name=5), "invalid_type", "tools[1].name"),
        WrongValue("an empty name", tools_with(name=""), "string_below_min_length", "tools[1].name"),
        WrongValue("a name with a space", tools_with(name="a b"), "invalid_value", "tools[1].name"),
        WrongValue("a name with an accent", tools_with(name="é"), "invalid_value", "tools[1].name"),
        WrongValue("a name with a newline", tools_with(name="f\n"), "invalid_value", "tools[1].name"),
        WrongValue("a name of 129 characters", tools_with(name="n" * 129), "string_above_max_length", "tools[1].name"),
        WrongValue("a string for parameters", tools_with(parameters="{}"), "invalid_type", "tools[1].parameters"),
        WrongValue("an array for parameters", tools_with(parameters=[]), "invalid_type", "tools[1].parameters"),
        WrongValue("a number for description", tools_with(description=5), "invalid_type", "tools[1].description"),
        WrongValue("a string for strict", tools_with(strict="true"), "invalid_type", "tools[1].strict"),
        WrongValue("a number for strict", tools_with(strict=1), "invalid_type", "tools[1].strict"),
        WrongValue("a custom tool without a name", [{"type": "custom"}], "missing_required_parameter", "tools[0].name"),
        WrongValue(
            "a custom tool's format as a string", [CUSTOM | {"format": "text"}], "invalid_type", "tools[0].format"
        ),
        WrongValue("two functions with the same name", [FUNCTION, SEARCH, FUNCTION], "invalid_value", "tools"),
        WrongValue(
            "a function and a custom tool with the same name",
            [FUNCTION, CUSTOM | {"name": "f"}],
            "invalid_value",
            "tools",
        ),
    ),
    proof=(
        "test_function_tools_and_custom_tools_are_offered_but_hosted_tools_are_not",
        "test_tool_calls_are_read_completely_in_one_piece_or_several",
        "test_a_tool_output_follows_its_call_from_the_chain",
    ),
)


def allowed_tools(*tools: Any, **changes: Any) -> dict[str, Any]:
    """Return a tool choice that allows these tools."""
    return {"type": "allowed_tools", "mode": "auto", "tools": list(tools)} | changes


def wrong_choice(description: str, value: Any, code: str = "invalid_value", suffix: str = "") -> WrongValue:
    """Return a wrong tool choice in a request with tools.

    Args:
        suffix: the end of the error's `param`, after `tool_choice`.
    """
    return WrongValue(description, value, code, f"tool_choice{suffix}", TOOL_FIELDS)


TOOL_CHOICE = Parameter(
    "tool_choice",
    "`none`, `auto`, `required`; `{type, name}` of a function or custom tool; `{type}` of a hosted tool; "
    "`{type: allowed_tools, mode, tools}`",
    "sent if there are tools; with `allowed_tools`, only these tools are offered. If a hosted tool is chosen, the "
    "model decides",
    accepted_values=(
        *(AcceptedValue(word, other_fields=TOOL_FIELDS) for word in ("none", "auto", "required")),
        AcceptedValue(None, "auto"),
        AcceptedValue("none"),
        AcceptedValue({"type": "function", "name": "f"}, other_fields=TOOL_FIELDS),
        AcceptedValue({"type": "custom", "name": "c"}, other_fields=TOOL_FIELDS),
        AcceptedValue(PREVIEW, other_fields=TOOL_FIELDS),
        AcceptedValue({"type": "mcp", "server_label": "deep", "name": "ask"}, other_fields=TOOL_FIELDS),
        AcceptedValue(allowed_tools(FUNCTION, CUSTOM, PREVIEW), other_fields=TOOL_FIELDS),
        AcceptedValue(allowed_tools(FUNCTION, mode="required"), other_fields=TOOL_FIELDS),
    ),
    wrong_values=(
        *types_except("a string", "an object"),
        wrong_choice("an unknown value", "any"),
        wrong_choice("an object without a type", {"name": "f"}, "missing_required_parameter", ".type"),
        wrong_choice("an unknown type", {"type": "telepathy"}, suffix=".type"),
        wrong_choice("a number for type", {"type": 5}, "invalid_type", ".type"),
        wrong_choice("an object for type", {"type": {}}, "invalid_type", ".type"),
        wrong_choice("a function without a name", {"type": "function"}, "missing_required_parameter", ".name"),
        wrong_choice(
            "the nested form of Chat Completions",
            {"type": "function", "function": {"name": "f"}},
            "missing_required_parameter",
            ".name",
        ),
        wrong_choice("a number for name", {"type": "custom", "name": 5}, "invalid_type", ".name"),
        wrong_choice("an unknown function", {"type": "function", "name": "g"}),
        wrong_choice("a custom tool as a function", {"type": "function", "name": "c"}),
        wrong_choice("an unknown hosted tool", {"type": "code_interpreter"}),
        WrongValue("a function without tools", FUNCTION, "invalid_value"),
        WrongValue("`required` without tools", "required", "invalid_value"),
        WrongValue("allowed tools without tools", allowed_tools(FUNCTION), "invalid_value"),
        wrong_choice("an empty list of allowed tools", allowed_tools(), "array_below_min_length", ".tools"),
        wrong_choice("129 allowed tools", allowed_tools(*[FUNCTION] * 129), "array_above_max_length", ".tools"),
        wrong_choice("strings as allowed tools", allowed_tools("f"), "invalid_type", ".tools[0]"),
        wrong_choice(
            "an allowed tool without a type",
            allowed_tools(FUNCTION, {"name": "f"}),
            "missing_required_parameter",
            ".tools[1].type",
        ),
        wrong_choice(
            "an allowed tool with an array for type",
            allowed_tools({"type": [], "name": "f"}),
            "invalid_type",
            ".tools[0].type",
        ),
        wrong_choice(
            "an allowed tool with a number for name",
            allowed_tools({"type": "function", "name": 5}),
            "invalid_type",
            ".tools[0].name",
        ),
        wrong_choice("an unknown allowed tool", allowed_tools(FUNCTION, {"type": "function", "name": "g"})),
        wrong_choice("an unknown allowed hosted tool", allowed_tools({"type": "file_search"})),
        wrong_choice("an unknown mode", allowed_tools(FUNCTION, mode="none"), suffix=".mode"),
        wrong_choice(
            "allowed tools without a mode", allowed_tools(FUNCTION, mode=None), "missing_required_parameter", ".mode"
        ),
    ),
    proof=(
        "test_a_tool_choice_is_sent_in_the_format_of_chat_completions",
        "test_only_allowed_tools_are_offered",
    ),
)

PARAMETERS = (TOOLS, TOOL_CHOICE)
