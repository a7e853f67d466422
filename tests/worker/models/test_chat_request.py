"""A response's request translated to Chat Completions."""

from typing import Any

import pytest

from core.config.catalog import ModelConfig
from core.wire.items import normal
from core.wire.request import CreateResponse
from tests.contract import inputs, tools
from worker.models.chat_completions import request

F = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
INPUT = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
C = {"type": "function", "function": {"name": "c", "parameters": INPUT}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CUSTOM_CALL = {"id": "call_2", "type": "function", "function": {"name": "c", "arguments": '{"input":"go"}'}}
CALLED = {"role": "assistant", "content": None, "tool_calls": [CALL]}
TOLD = {"role": "tool", "tool_call_id": "call_1", "content": "1"}

MODEL = ModelConfig.model_validate({"base_url": "http://localhost/v1"})


def asked(**fields: Any) -> CreateResponse:
    return CreateResponse.model_validate({"model": "m", "input": "hi", **fields})


def body(**fields: Any) -> dict[str, Any]:
    return request.body(MODEL, "upstream", asked(**fields), [])


def messages(*sent: dict[str, Any], instructions: str | None = None) -> list[dict[str, Any]]:
    """The messages that these items of a request are translated to."""
    return request.messages(instructions, [normal(item) for item in asked(input=list(sent)).input or ()])


def message(role: str, *texts: str) -> dict[str, Any]:
    kind = "output_text" if role == "assistant" else "input_text"
    return {"role": role, "content": [{"type": kind, "text": text} for text in texts]}


def test_a_plain_request_asks_for_a_stream_with_usage_and_says_no_more_than_it_must() -> None:
    assert body() == {
        "model": "upstream",
        "messages": [],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 1,
        "top_p": 1,
    }


def test_numbers_are_sent_under_the_names_of_chat_completions() -> None:
    sent = body(temperature=0, top_p=0.5, max_output_tokens=99)

    assert (sent["temperature"], sent["top_p"], sent["max_tokens"]) == (0, 0.5, 99)


@pytest.mark.parametrize("name", ["presence_penalty", "frequency_penalty"])
def test_a_penalty_is_sent_unless_it_is_zero(name: str) -> None:
    assert body(**{name: -2})[name] == -2
    assert body(**{name: 0.5})[name] == 0.5
    assert name not in body(**{name: 0})


@pytest.mark.parametrize("name", ["safety_identifier", "prompt_cache_key", "user"])
def test_identifiers_are_passed_on(name: str) -> None:
    assert body(**{name: "x"})[name] == "x"
    assert name not in body()


@pytest.mark.parametrize("effort", ["none", "minimal", "low", "medium", "high", "xhigh", "max"])
def test_the_reasoning_effort_is_passed_on(effort: str) -> None:
    assert body(reasoning={"effort": effort, "summary": "auto"})["reasoning_effort"] == effort
    assert "reasoning_effort" not in body(reasoning={"summary": "auto"})


def test_a_text_format_is_sent_as_the_response_format() -> None:
    schema = {"type": "object", "properties": {"a": {"type": ["string", "null"], "default": None}}}

    assert "response_format" not in body(text={"format": {"type": "text"}, "verbosity": "low"})
    assert body(text={"format": {"type": "json_object"}})["response_format"] == {"type": "json_object"}
    named = {"type": "json_schema", "name": "n", "schema": schema}
    assert body(text={"format": named})["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "n", "schema": schema, "strict": False},
    }
    assert body(text={"format": named | {"strict": True, "description": "d"}})["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "n", "schema": schema, "strict": True, "description": "d"},
    }


def test_functions_and_custom_tools_are_offered_and_hosted_ones_are_not() -> None:
    whole = {"description": "The weather.", "parameters": {"type": "object", "properties": {"a": {}}}}
    sent = body(tools=[tools.FUNCTION | whole, tools.SEARCH, tools.CUSTOM | {"description": "d"}, tools.MCP])

    assert sent["tools"] == [
        {"type": "function", "function": {"name": "f", **whole}},
        {"type": "function", "function": {"name": "c", "description": "d", "parameters": INPUT}},
    ]
    assert (sent["tool_choice"], sent["parallel_tool_calls"]) == ("auto", True)
    assert body(tools=[tools.FUNCTION], parallel_tool_calls=False)["parallel_tool_calls"] is False


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("auto", "auto"),
        ("required", "required"),
        ({"type": "function", "name": "f"}, {"type": "function", "function": {"name": "f"}}),
        ({"type": "custom", "name": "c"}, {"type": "function", "function": {"name": "c"}}),
        ({"type": "web_search_preview"}, "auto"),
        ({"type": "mcp", "server_label": "deep"}, "auto"),
    ],
)
def test_a_tool_choice_is_sent_in_the_words_of_chat_completions(choice: Any, sent: Any) -> None:
    found = body(**tools.OFFERED, tool_choice=choice)

    assert found["tools"] == [F, C]
    assert found["tool_choice"] == sent


@pytest.mark.parametrize("mode", ["auto", "required"])
@pytest.mark.parametrize(
    ("allowed", "offered"),
    [
        ([tools.FUNCTION], [F]),
        ([tools.CUSTOM], [C]),
        ([tools.CUSTOM, tools.FUNCTION, tools.PREVIEW], [F, C]),
        ([{"type": "custom", "name": "f"}], None),
        ([tools.PREVIEW], None),
    ],
)
def test_what_is_not_allowed_is_not_offered(mode: str, allowed: list, offered: list | None) -> None:
    sent = body(**tools.OFFERED, tool_choice={"type": "allowed_tools", "mode": mode, "tools": allowed})

    assert sent.get("tools") == offered
    assert sent.get("tool_choice") == (mode if offered else None)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"tools": [], "tool_choice": "auto"},
        {"tools": [tools.FUNCTION], "tool_choice": "none"},
        {"tools": [tools.SEARCH, tools.MCP], "tool_choice": "required"},
    ],
)
def test_without_a_tool_to_offer_nothing_is_said_of_tools(fields: dict[str, Any]) -> None:
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & body(**fields).keys()


def test_instructions_are_the_first_message_of_the_system() -> None:
    assert messages(message("user", "hi"), instructions="Be brief.")[0] == {"role": "system", "content": "Be brief."}
    assert messages(message("user", "hi"), instructions="")[0] == {"role": "system", "content": ""}


@pytest.mark.parametrize(
    ("role", "sent"), [("user", "user"), ("assistant", "assistant"), ("system", "system"), ("developer", "system")]
)
def test_a_message_is_its_texts_in_one_and_a_developer_is_the_system(role: str, sent: str) -> None:
    assert messages(message(role, "a", "b"), {"role": role, "content": "c"}) == [
        {"role": sent, "content": "ab"},
        {"role": sent, "content": "c"},
    ]
    assert messages({"role": role, "content": []}) == [{"role": sent, "content": ""}]


def test_a_refusal_is_what_the_assistant_said() -> None:
    refusal = {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}

    assert messages(refusal) == [{"role": "assistant", "content": "No."}]


def test_a_call_and_its_output_become_a_turn_of_the_assistant_and_one_of_the_tool() -> None:
    assert messages(inputs.CALL, inputs.OUTPUT) == [CALLED, TOLD]
    assert messages(inputs.CUSTOM_CALL, inputs.CUSTOM_OUTPUT) == [
        {"role": "assistant", "content": None, "tool_calls": [CUSTOM_CALL]},
        {"role": "tool", "tool_call_id": "call_2", "content": "2"},
    ]


def test_an_output_in_parts_is_one_text() -> None:
    parts = inputs.OUTPUT | {"output": [inputs.TEXT, inputs.TEXT]}

    assert messages(inputs.CALL, parts)[1] == TOLD | {"content": "hihi"}


def test_parallel_calls_are_one_turn_and_their_outputs_follow_it() -> None:
    sent = messages(inputs.CALL, inputs.CUSTOM_CALL, inputs.CUSTOM_OUTPUT, inputs.OUTPUT)

    assert sent[0] == {"role": "assistant", "content": None, "tool_calls": [CALL, CUSTOM_CALL]}
    assert [told["tool_call_id"] for told in sent[1:]] == ["call_2", "call_1"]


def test_calls_after_each_others_outputs_are_turns_of_their_own() -> None:
    second = CALL | {"id": "call_3"}

    assert messages(
        inputs.CALL, inputs.OUTPUT, inputs.CALL | {"call_id": "call_3"}, inputs.OUTPUT | {"call_id": "call_3"}
    ) == [CALLED, TOLD, CALLED | {"tool_calls": [second]}, TOLD | {"tool_call_id": "call_3"}]


@pytest.mark.parametrize("reasoning", [[], [inputs.REASONING]])
def test_text_and_calls_of_one_turn_are_one_message_whichever_came_first(reasoning: list) -> None:
    said = message("assistant", "Let me see.")
    turn = CALLED | {"content": "Let me see."}

    assert messages(said, *reasoning, inputs.CALL, inputs.OUTPUT) == [turn, TOLD]
    assert messages(inputs.CALL, *reasoning, said, inputs.OUTPUT) == [turn, TOLD]
    assert messages(said, inputs.CALL, said, inputs.OUTPUT) == [
        CALLED | {"content": "Let me see.Let me see."},
        TOLD,
    ]


def test_what_is_said_after_an_output_is_a_turn_of_its_own() -> None:
    assert messages(inputs.CALL, inputs.OUTPUT, message("assistant", "Rain.")) == [
        CALLED,
        TOLD,
        {"role": "assistant", "content": "Rain."},
    ]


def test_two_messages_of_the_assistant_stay_two() -> None:
    assert len(messages(message("assistant", "a"), message("assistant", "b"))) == 2


def test_reasoning_and_hosted_tools_items_are_not_shown() -> None:
    hosted = {"type": "web_search_call", "id": "ws_1", "status": "completed"}

    assert messages(inputs.REASONING, hosted, message("user", "hi"), {"type": "mcp_call", "role": "user"}) == [
        {"role": "user", "content": "hi"}
    ]


def picture(detail: str = "auto") -> dict[str, Any]:
    return {"type": "input_image", "image_url": "https://example.com/a.png", "detail": detail}


def sent_picture(detail: str = "auto") -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": detail}}


def test_a_message_with_an_image_is_a_list_of_parts_in_its_order() -> None:
    content = [inputs.TEXT, picture("low"), inputs.TEXT, picture("original")]

    assert messages({"role": "user", "content": content}) == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "hi"},
                sent_picture("low"),
                {"type": "text", "text": "hi"},
                sent_picture("high"),  # Chat Completions servers know no `original`
            ],
        }
    ]


def test_a_file_is_its_text_under_its_name_in_one_text_with_the_rest() -> None:
    file = {"type": "input_file", "filename": "a.pdf", "text": "Page one."}
    item = {"type": "message", "role": "user", "content": [inputs.TEXT, file]}

    assert request.messages(None, [item]) == [
        {"role": "user", "content": "hi\n[File: a.pdf]\nPage one.\n[End of the file]\n"}
    ]


def test_what_parallel_tools_showed_follows_all_their_outputs() -> None:
    shown = inputs.OUTPUT | {"output": [picture(), inputs.TEXT]}
    sent = messages(inputs.CALL, inputs.CUSTOM_CALL, shown, inputs.CUSTOM_OUTPUT, message("assistant", "I see."))

    assert [one["role"] for one in sent] == ["assistant", "tool", "tool", "user", "assistant"]
    assert sent[1] == TOLD | {"content": "hi"}
    assert sent[3]["content"] == [{"type": "text", "text": "What the tool call call_1 showed:"}, sent_picture()]
