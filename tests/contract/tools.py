"""`tools` and `tool_choice`."""

from typing import Any

from tests.contract.rows import Good, Parameter, Wrong, not_of
from tests.contract.shapes import nested

FUNCTION = {"type": "function", "name": "f"}
CUSTOM = {"type": "custom", "name": "c"}
SEARCH = {"type": "web_search", "search_context_size": "low"}
SHELL = {"type": "local_shell"}
MCP = {"type": "mcp", "server_label": "deep", "server_url": "https://example.com/mcp"}
WHOLE = {
    "type": "function",
    "name": "weather-2_x",
    "description": "The weather.",
    "parameters": {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]},
    "strict": False,
}
PREVIEW = {"type": "web_search_preview"}
OFFERED = {"tools": [FUNCTION, CUSTOM, PREVIEW, MCP]}


def filled(**tool: Any) -> dict[str, Any]:
    """A function as the response has it: every key."""
    return {"type": "function", "name": "f", "description": None, "parameters": None, "strict": True} | tool


def one(**changes: Any) -> list[dict[str, Any]]:
    """A good tool, then a function with these changes; None leaves out."""
    return [SEARCH, {key: value for key, value in (FUNCTION | changes).items() if value is not None}]


TOOLS = Parameter(
    "tools",
    "up to 128 tools: functions and custom tools with unique names (128 letters, digits, `_`, `-`), and hosted tools",
    "functions and custom tools are offered to the model; hosted ones are echoed, but neither offered nor run",
    good=(
        Good([]),
        Good(None, []),
        Good([FUNCTION], [filled()]),
        Good([FUNCTION | {"strict": None, "description": None, "unknown": 1}], [filled()]),
        Good([WHOLE]),
        Good([FUNCTION | {"parameters": nested(120)}], [filled(parameters=nested(120))]),
        Good([CUSTOM]),
        Good([CUSTOM | {"format": {"type": "grammar", "syntax": "regex", "definition": "a+"}, "description": "d"}]),
        Good([SEARCH, SHELL, MCP]),
        Good([SEARCH, SEARCH, FUNCTION], [SEARCH, SEARCH, filled()]),
        Good(
            [FUNCTION | {"name": f"f{n}"} for n in range(127)] + [FUNCTION | {"name": "n" * 128}],
            [filled(name=f"f{n}") for n in range(127)] + [filled(name="n" * 128)],
        ),
        Good([{"type": "namespace", "name": "n", "description": "d", "tools": [FUNCTION]}]),
    ),
    wrong=(
        *not_of("an array"),
        Wrong("an invalid JSON schema", one(parameters={"type": 5}), "invalid_value", "tools[1].parameters"),
        Wrong(
            "a schema with a dangling reference", one(parameters={"$ref": "x"}), "invalid_value", "tools[1].parameters"
        ),
        Wrong("strings", ["f"], "invalid_type", "tools[0]"),
        Wrong("nulls", [None], "invalid_type", "tools[0]"),
        Wrong("129 tools", [FUNCTION | {"name": f"f{n}"} for n in range(129)], "array_above_max_length"),
        Wrong("a tool without a type", one(type=None), "missing_required_parameter", "tools[1].type"),
        Wrong("an unknown type", one(type="telepathy"), "invalid_value", "tools[1].type"),
        Wrong("a number for type", one(type=5), "invalid_type", "tools[1].type"),
        Wrong("an array for type", one(type=["function"]), "invalid_type", "tools[1].type"),
        Wrong(
            "the nested form of Chat Completions",
            [{"type": "function", "function": FUNCTION}],
            *("missing_required_parameter", "tools[0].name"),
        ),
        Wrong("a function without a name", one(name=None), "missing_required_parameter", "tools[1].name"),
        Wrong("a number for name", one(name=5), "invalid_type", "tools[1].name"),
        Wrong("an empty name", one(name=""), "string_below_min_length", "tools[1].name"),
        Wrong("a name with a space", one(name="a b"), "invalid_value", "tools[1].name"),
        Wrong("a name with an accent", one(name="é"), "invalid_value", "tools[1].name"),
        Wrong("a name with a newline", one(name="f\n"), "invalid_value", "tools[1].name"),
        Wrong("a name of 129 characters", one(name="n" * 129), "string_above_max_length", "tools[1].name"),
        Wrong("a string for parameters", one(parameters="{}"), "invalid_type", "tools[1].parameters"),
        Wrong("an array for parameters", one(parameters=[]), "invalid_type", "tools[1].parameters"),
        Wrong("a number for description", one(description=5), "invalid_type", "tools[1].description"),
        Wrong("a string for strict", one(strict="true"), "invalid_type", "tools[1].strict"),
        Wrong("a number for strict", one(strict=1), "invalid_type", "tools[1].strict"),
        Wrong("a custom tool without a name", [{"type": "custom"}], "missing_required_parameter", "tools[0].name"),
        Wrong("a custom tool's format as a string", [CUSTOM | {"format": "text"}], "invalid_type", "tools[0].format"),
        Wrong("two functions with the same name", [FUNCTION, SEARCH, FUNCTION], "invalid_value", "tools"),
        Wrong(
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


def allowed(*tools: Any, **changes: Any) -> dict[str, Any]:
    return {"type": "allowed_tools", "mode": "auto", "tools": list(tools)} | changes


def choice(what: str, value: Any, code: str = "invalid_value", under: str = "") -> Wrong:
    return Wrong(what, value, code, f"tool_choice{under}", OFFERED)


TOOL_CHOICE = Parameter(
    "tool_choice",
    "`none`, `auto`, `required`; `{type, name}` of a function or custom tool; `{type}` of a hosted tool; "
    "`{type: allowed_tools, mode, tools}`",
    "sent if there are tools; tools not in `allowed_tools` are not offered. A hosted tool leaves the choice to the model",
    good=(
        *(Good(word, beside=OFFERED) for word in ("none", "auto", "required")),
        Good(None, "auto"),
        Good("none"),
        Good({"type": "function", "name": "f"}, beside=OFFERED),
        Good({"type": "custom", "name": "c"}, beside=OFFERED),
        Good(PREVIEW, beside=OFFERED),
        Good({"type": "mcp", "server_label": "deep", "name": "ask"}, beside=OFFERED),
        Good(allowed(FUNCTION, CUSTOM, PREVIEW), beside=OFFERED),
        Good(allowed(FUNCTION, mode="required"), beside=OFFERED),
    ),
    wrong=(
        *not_of("a string", "an object"),
        choice("an unknown word", "any"),
        choice("an object without a type", {"name": "f"}, "missing_required_parameter", ".type"),
        choice("an unknown type", {"type": "telepathy"}, under=".type"),
        choice("a number for type", {"type": 5}, "invalid_type", ".type"),
        choice("an object for type", {"type": {}}, "invalid_type", ".type"),
        choice("a function without a name", {"type": "function"}, "missing_required_parameter", ".name"),
        choice(
            "the nested form of Chat Completions",
            {"type": "function", "function": {"name": "f"}},
            *("missing_required_parameter", ".name"),
        ),
        choice("a number for name", {"type": "custom", "name": 5}, "invalid_type", ".name"),
        choice("an unknown function", {"type": "function", "name": "g"}),
        choice("a custom tool as a function", {"type": "function", "name": "c"}),
        choice("an unknown hosted tool", {"type": "code_interpreter"}),
        Wrong("a function without tools", FUNCTION, "invalid_value"),
        Wrong("`required` without tools", "required", "invalid_value"),
        Wrong("allowed tools without tools", allowed(FUNCTION), "invalid_value"),
        choice("an empty list of allowed tools", allowed(), "array_below_min_length", ".tools"),
        choice("129 allowed tools", allowed(*[FUNCTION] * 129), "array_above_max_length", ".tools"),
        choice("strings as allowed tools", allowed("f"), "invalid_type", ".tools[0]"),
        choice(
            "an allowed tool without a type",
            allowed(FUNCTION, {"name": "f"}),
            *("missing_required_parameter", ".tools[1].type"),
        ),
        choice(
            "an allowed tool with an array for type",
            allowed({"type": [], "name": "f"}),
            "invalid_type",
            ".tools[0].type",
        ),
        choice(
            "an allowed tool with a number for name",
            allowed({"type": "function", "name": 5}),
            "invalid_type",
            ".tools[0].name",
        ),
        choice("an unknown allowed tool", allowed(FUNCTION, {"type": "function", "name": "g"})),
        choice("an unknown allowed hosted tool", allowed({"type": "file_search"})),
        choice("an unknown mode", allowed(FUNCTION, mode="none"), under=".mode"),
        choice("allowed tools without a mode", allowed(FUNCTION, mode=None), "missing_required_parameter", ".mode"),
    ),
    proof=(
        "test_a_tool_choice_is_sent_in_the_format_of_chat_completions",
        "test_only_allowed_tools_are_offered",
    ),
)

PARAMETERS = (TOOLS, TOOL_CHOICE)
