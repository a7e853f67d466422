"""Conversion of a response's request to a Chat Completions request."""

from typing import Any

import pytest

from core.config.catalog import ModelConfig
from core.wire.items import normalize_item
from core.wire.request import CreateResponse
from tests.contract import inputs, tools
from worker.models.chat_completions import request

FUNCTION_TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
INPUT_SCHEMA = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
CUSTOM_TOOL = {"type": "function", "function": {"name": "c", "parameters": INPUT_SCHEMA}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CUSTOM_CALL = {"id": "call_2", "type": "function", "function": {"name": "c", "arguments": '{"input":"go"}'}}
CALL_MESSAGE = {"role": "assistant", "content": None, "tool_calls": [CALL]}
OUTPUT_MESSAGE = {"role": "tool", "tool_call_id": "call_1", "content": "1"}

MODEL = ModelConfig.model_validate({"base_url": "http://localhost/v1"})


def create_request(**fields: Any) -> CreateResponse:
    return CreateResponse.model_validate({"model": "m", "input": "hi", **fields})


def request_body(**fields: Any) -> dict[str, Any]:
    return request.request_body(MODEL, "upstream", create_request(**fields), [])


def messages(*items: dict[str, Any], instructions: str | None = None) -> list[dict[str, Any]]:
    """Return the messages for these items of a request."""
    return request.messages(
        instructions, [normalize_item(item) for item in create_request(input=list(items)).input or ()]
    )


def message(role: str, *texts: str) -> dict[str, Any]:
    part_type = "output_text" if role == "assistant" else "input_text"
    return {"role": role, "content": [{"type": part_type, "text": text} for text in texts]}


def test_a_plain_request_has_only_the_required_fields_and_requests_usage() -> None:
    assert request_body() == {
        "model": "upstream",
        "messages": [],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 1,
        "top_p": 1,
    }


def test_numbers_are_sent_in_the_fields_of_chat_completions() -> None:
    body = request_body(temperature=0, top_p=0.5, max_output_tokens=99)

    assert (body["temperature"], body["top_p"], body["max_tokens"]) == (0, 0.5, 99)


@pytest.mark.parametrize("name", ["presence_penalty", "frequency_penalty"])
def test_a_penalty_is_sent_unless_it_is_zero(name: str) -> None:
    assert request_body(**{name: -2})[name] == -2
    assert request_body(**{name: 0.5})[name] == 0.5
    assert name not in request_body(**{name: 0})


@pytest.mark.parametrize("name", ["safety_identifier", "prompt_cache_key", "user"])
def test_identifiers_are_passed_on(name: str) -> None:
    assert request_body(**{name: "x"})[name] == "x"
    assert name not in request_body()


@pytest.mark.parametrize("effort", ["none", "minimal", "low", "medium", "high", "xhigh", "max"])
def test_the_reasoning_effort_is_passed_on(effort: str) -> None:
    assert request_body(reasoning={"effort": effort, "summary": "auto"})["reasoning_effort"] == effort
    assert "reasoning_effort" not in request_body(reasoning={"summary": "auto"})


def test_a_text_format_is_sent_as_the_response_format() -> None:
    schema = {"type": "object", "properties": {"a": {"type": ["string", "null"], "default": None}}}

    assert "response_format" not in request_body(text={"format": {"type": "text"}, "verbosity": "low"})
    assert request_body(text={"format": {"type": "json_object"}})["response_format"] == {"type": "json_object"}
    schema_format = {"type": "json_schema", "name": "n", "schema": schema}
    assert request_body(text={"format": schema_format})["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "n", "schema": schema, "strict": False},
    }
    assert request_body(text={"format": schema_format | {"strict": True, "description": "d"}})["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "n", "schema": schema, "strict": True, "description": "d"},
    }


def test_function_tools_and_custom_tools_are_offered_but_hosted_tools_are_not() -> None:
    fields = {"description": "The weather.", "parameters": {"type": "object", "properties": {"a": {}}}}
    body = request_body(tools=[tools.FUNCTION | fields, tools.SEARCH, tools.CUSTOM | {"description": "d"}, tools.MCP])

    assert body["tools"] == [
        {"type": "function", "function": {"name": "f", **fields}},
        {"type": "function", "function": {"name": "c", "description": "d", "parameters": INPUT_SCHEMA}},
    ]
    assert (body["tool_choice"], body["parallel_tool_calls"]) == ("auto", True)
    assert request_body(tools=[tools.FUNCTION], parallel_tool_calls=False)["parallel_tool_calls"] is False


@pytest.mark.parametrize(
    ("choice", "expected_choice"),
    [
        ("auto", "auto"),
        ("required", "required"),
        ({"type": "function", "name": "f"}, {"type": "function", "function": {"name": "f"}}),
        ({"type": "custom", "name": "c"}, {"type": "function", "function": {"name": "c"}}),
        ({"type": "web_search_preview"}, "auto"),
        ({"type": "mcp", "server_label": "deep"}, "auto"),
    ],
)
def test_a_tool_choice_is_sent_in_the_format_of_chat_completions(choice: Any, expected_choice: Any) -> None:
    body = request_body(**tools.TOOL_FIELDS, tool_choice=choice)

    assert body["tools"] == [FUNCTION_TOOL, CUSTOM_TOOL]
    assert body["tool_choice"] == expected_choice


@pytest.mark.parametrize("mode", ["auto", "required"])
@pytest.mark.parametrize(
    ("allowed_tools", "offered_tools"),
    [
        ([tools.FUNCTION], [FUNCTION_TOOL]),
        ([tools.CUSTOM], [CUSTOM_TOOL]),
        ([tools.CUSTOM, tools.FUNCTION, tools.PREVIEW], [FUNCTION_TOOL, CUSTOM_TOOL]),
        ([{"type": "custom", "name": "f"}], None),
        ([tools.PREVIEW], None),
    ],
)
def test_only_allowed_tools_are_offered(mode: str, allowed_tools: list, offered_tools: list | None) -> None:
    body = request_body(
        **tools.TOOL_FIELDS, tool_choice={"type": "allowed_tools", "mode": mode, "tools": allowed_tools}
    )

    assert body.get("tools") == offered_tools
    assert body.get("tool_choice") == (mode if offered_tools else None)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"tools": [], "tool_choice": "auto"},
        {"tools": [tools.FUNCTION], "tool_choice": "none"},
        {"tools": [tools.SEARCH, tools.MCP], "tool_choice": "required"},
    ],
)
def test_a_request_without_offered_tools_has_no_tool_fields(fields: dict[str, Any]) -> None:
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & request_body(**fields).keys()


def test_instructions_become_the_first_system_message() -> None:
    assert messages(message("user", "hi"), instructions="Be brief.")[0] == {"role": "system", "content": "Be brief."}
    assert messages(message("user", "hi"), instructions="")[0] == {"role": "system", "content": ""}


@pytest.mark.parametrize(
    ("role", "expected_role"),
    [("user", "user"), ("assistant", "assistant"), ("system", "system"), ("developer", "system")],
)
def test_a_message_has_the_joined_text_of_its_parts_and_developer_becomes_system(role: str, expected_role: str) -> None:
    assert messages(message(role, "a", "b"), {"role": role, "content": "c"}) == [
        {"role": expected_role, "content": "ab"},
        {"role": expected_role, "content": "c"},
    ]
    assert messages({"role": role, "content": []}) == [{"role": expected_role, "content": ""}]


def test_a_refusal_becomes_the_content_of_an_assistant_message() -> None:
    refusal = {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}

    assert messages(refusal) == [{"role": "assistant", "content": "No."}]


def test_a_call_and_its_output_become_an_assistant_message_and_a_tool_message() -> None:
    assert messages(inputs.CALL, inputs.OUTPUT) == [CALL_MESSAGE, OUTPUT_MESSAGE]
    assert messages(inputs.CUSTOM_CALL, inputs.CUSTOM_OUTPUT) == [
        {"role": "assistant", "content": None, "tool_calls": [CUSTOM_CALL]},
        {"role": "tool", "tool_call_id": "call_2", "content": "2"},
    ]


def test_an_output_in_parts_becomes_one_text() -> None:
    parts = inputs.OUTPUT | {"output": [inputs.TEXT, inputs.TEXT]}

    assert messages(inputs.CALL, parts)[1] == OUTPUT_MESSAGE | {"content": "hihi"}


def test_parallel_calls_become_one_message_before_their_outputs() -> None:
    chat_messages = messages(inputs.CALL, inputs.CUSTOM_CALL, inputs.CUSTOM_OUTPUT, inputs.OUTPUT)

    assert chat_messages[0] == {"role": "assistant", "content": None, "tool_calls": [CALL, CUSTOM_CALL]}
    assert [output_message["tool_call_id"] for output_message in chat_messages[1:]] == ["call_2", "call_1"]


def test_a_call_after_the_output_of_another_call_starts_a_new_message() -> None:
    second_call = CALL | {"id": "call_3"}

    assert messages(
        inputs.CALL, inputs.OUTPUT, inputs.CALL | {"call_id": "call_3"}, inputs.OUTPUT | {"call_id": "call_3"}
    ) == [
        CALL_MESSAGE,
        OUTPUT_MESSAGE,
        CALL_MESSAGE | {"tool_calls": [second_call]},
        OUTPUT_MESSAGE | {"tool_call_id": "call_3"},
    ]


@pytest.mark.parametrize("reasoning", [[], [inputs.REASONING]])
def test_text_and_calls_of_one_turn_become_one_message_in_either_order(reasoning: list) -> None:
    text_message = message("assistant", "Let me see.")
    turn = CALL_MESSAGE | {"content": "Let me see."}

    assert messages(text_message, *reasoning, inputs.CALL, inputs.OUTPUT) == [turn, OUTPUT_MESSAGE]
    assert messages(inputs.CALL, *reasoning, text_message, inputs.OUTPUT) == [turn, OUTPUT_MESSAGE]
    assert messages(text_message, inputs.CALL, text_message, inputs.OUTPUT) == [
        CALL_MESSAGE | {"content": "Let me see.Let me see."},
        OUTPUT_MESSAGE,
    ]


def test_text_after_a_tool_output_starts_a_new_message() -> None:
    assert messages(inputs.CALL, inputs.OUTPUT, message("assistant", "Rain.")) == [
        CALL_MESSAGE,
        OUTPUT_MESSAGE,
        {"role": "assistant", "content": "Rain."},
    ]


def test_two_consecutive_assistant_messages_are_not_merged() -> None:
    assert len(messages(message("assistant", "a"), message("assistant", "b"))) == 2


def test_reasoning_and_items_of_hosted_tools_are_not_sent() -> None:
    hosted_call = {"type": "web_search_call", "id": "ws_1", "status": "completed"}

    assert messages(inputs.REASONING, hosted_call, message("user", "hi"), {"type": "mcp_call", "role": "user"}) == [
        {"role": "user", "content": "hi"}
    ]


def image_part(detail: str = "auto") -> dict[str, Any]:
    return {"type": "input_image", "image_url": "https://example.com/a.png", "detail": detail}


def chat_image_part(detail: str = "auto") -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": detail}}


def test_a_message_with_images_becomes_a_list_of_parts_in_order() -> None:
    content = [inputs.TEXT, image_part("low"), inputs.TEXT, image_part("original")]

    assert messages({"role": "user", "content": content}) == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "hi"},
                chat_image_part("low"),
                {"type": "text", "text": "hi"},
                chat_image_part("high"),  # Chat Completions does not have the value `original`
            ],
        }
    ]


def test_a_file_becomes_text_with_its_name_joined_with_the_other_text() -> None:
    file = {"type": "input_file", "filename": "a.pdf", "text": "Page one."}
    item = {"type": "message", "role": "user", "content": [inputs.TEXT, file]}

    assert request.messages(None, [item]) == [
        {"role": "user", "content": "hi\n[File: a.pdf]\nPage one.\n[End of the file]\n"}
    ]


def test_images_of_parallel_tools_follow_all_their_outputs() -> None:
    output_with_image = inputs.OUTPUT | {"output": [image_part(), inputs.TEXT]}
    chat_messages = messages(
        inputs.CALL, inputs.CUSTOM_CALL, output_with_image, inputs.CUSTOM_OUTPUT, message("assistant", "I see.")
    )

    assert [chat_message["role"] for chat_message in chat_messages] == [
        "assistant",
        "tool",
        "tool",
        "user",
        "assistant",
    ]
    assert chat_messages[1] == OUTPUT_MESSAGE | {"content": "hi"}
    assert chat_messages[3]["content"] == [
        {"type": "text", "text": "What the tool call call_1 showed:"},
        chat_image_part(),
    ]
