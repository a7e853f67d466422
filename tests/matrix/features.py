"""What goes in and out, feature by feature, through each API of model servers: the tests run it, a page shows it."""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from openai.types.responses import Response

from tests import documents
from tests.matrix.looks import annotations, calls, calls_after_text, failure, logprobs, parts, text, usage, why

Fields = Mapping[str, Any]


@dataclass(frozen=True)
class Feature:
    """One feature.

    Args:
        name: in words for the page.
        chat: how Chat Completions has it, in words for the page.
        native: how the Responses API has it.
        script: what the scripted model server does.
        asks: what the client's request says besides its input.
        before: the items of its input before the last one, which is the script.
        chat_gets: what the model server's request then holds, at least.
        native_gets: likewise.
        lacks: what neither API's request says.
        packaged: the test that tries it on the packaged model.
        says: what of the response is looked at.
        said: what that must be.
        model: the configured model, without its API.
    """

    name: str
    chat: str
    native: str
    script: Fields
    says: Callable[[Response], Any]
    said: Any
    asks: Fields = field(default_factory=dict)
    before: tuple[Fields, ...] = ()
    chat_gets: Fields = field(default_factory=dict)
    native_gets: Fields = field(default_factory=dict)
    lacks: tuple[str, ...] = ()
    packaged: str = ""
    model: str = "plain"


SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
NAMED = {"name": "n", "schema": SCHEMA, "strict": True}
FUNCTION = {"type": "function", "name": "f", "parameters": SCHEMA, "strict": True}
CUSTOM = {"type": "custom", "name": "c"}
CALL = {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": '{"a":1}'}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "1"}
CUSTOM_CALL = {"type": "custom_tool_call", "call_id": "call_2", "name": "c", "input": "go"}
CUSTOM_OUTPUT = {"type": "custom_tool_call_output", "call_id": "call_2", "output": "2"}
ONE = {"id": "call_1", "name": "f", "arguments": '{"a":1}'}
TWO = {"id": "call_2", "name": "f", "arguments": '{"a":2}'}
INPUT = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
CITED = {"type": "url_citation", "url": "https://example.com/", "title": "Example", "start_index": 0, "end_index": 2}
THOUGHT = {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]}

IMAGE = documents.data_url("image/png", documents.image())
PICTURE = {"type": "input_image", "image_url": IMAGE, "detail": "low"}
FILE = {"type": "input_file", "filename": "a.txt", "file_data": base64.b64encode(b"Read me.").decode()}
READ = "\n[File: a.txt]\nRead me.\n[End of the file]\n"

FEATURES = (
    Feature(
        "text",
        "`content`, in deltas or in one piece",
        "`output_text.delta`, or whole items",
        {"text": "Hello you"},
        text,
        ("completed", "Hello you"),
        lacks=("tools", "tool_choice", "response_format", "text", "max_tokens", "max_output_tokens", "reasoning"),
        packaged="test_the_packaged_model_answers_in_text",
        chat_gets={"stream": True, "temperature": 1},
        native_gets={"stream": True, "store": False, "temperature": 1},
    ),
    Feature(
        "instructions",
        "the first message, with role `system`",
        "`instructions`",
        {"text": "ok"},
        text,
        ("completed", "ok"),
        asks={"instructions": "Be brief."},
        native_gets={"instructions": "Be brief."},
    ),
    Feature(
        "image",
        "a part `image_url`",
        "a part `input_image`",
        {"text": "ok"},
        text,
        ("completed", "ok"),
        before=({"role": "user", "content": [PICTURE]},),
        chat_gets={
            "messages": [
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": IMAGE, "detail": "low"}}]}
            ]
        },
        native_gets={"input": [{"type": "message", "role": "user", "content": [PICTURE]}]},
    ),
    Feature(
        "file",
        "the text extracted from it",
        "the same; the unchanged file for models that support `files`",
        {"text": "ok"},
        text,
        ("completed", "ok"),
        before=({"role": "user", "content": [FILE]},),
        chat_gets={"messages": [{"role": "user", "content": READ}]},
        native_gets={"input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": READ}]}]},
    ),
    Feature(
        "function call",
        "`tool_calls`, in pieces or whole",
        "`function_call` items",
        {"tool_calls": [ONE]},
        calls,
        [("function_call", "call_1", "f", '{"a":1}')],
        asks={"tools": [FUNCTION], "tool_choice": {"type": "function", "name": "f"}},
        chat_gets={
            "tools": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA, "strict": True}}],
            "tool_choice": {"type": "function", "function": {"name": "f"}},
        },
        native_gets={"tools": [FUNCTION], "tool_choice": {"type": "function", "name": "f"}},
    ),
    Feature(
        "parallel calls",
        "`parallel_tool_calls`; several `tool_calls`",
        "`parallel_tool_calls`; several items",
        {"text": "So", "tool_calls": [ONE, TWO]},
        calls_after_text,
        ["call_1", "call_2"],
        asks={"tools": [FUNCTION], "parallel_tool_calls": True},
        chat_gets={"parallel_tool_calls": True},
        native_gets={"parallel_tool_calls": True},
    ),
    Feature(
        "custom tool",
        "a function with the single argument `input`",
        "`custom` tools and `custom_tool_call` items",
        {"tool_calls": [{"id": "call_2", "name": "c", "arguments": '{"input": "go"}'}]},
        calls,
        [("custom_tool_call", "call_2", "c", "go")],
        asks={"tools": [CUSTOM]},
        chat_gets={"tools": [{"type": "function", "function": {"name": "c", "parameters": INPUT}}]},
        native_gets={"tools": [CUSTOM]},
    ),
    Feature(
        "tool outputs",
        "an `assistant` message with `tool_calls`, and `tool` messages",
        "the items, unchanged",
        {"text": "ok"},
        text,
        ("completed", "ok"),
        before=(CALL, CUSTOM_CALL, OUTPUT, CUSTOM_OUTPUT),
        native_gets={"input": [CALL, CUSTOM_CALL, OUTPUT, CUSTOM_OUTPUT]},
    ),
    Feature(
        "JSON object",
        "`response_format`",
        "`text.format`",
        {"text": "{}"},
        text,
        ("completed", "{}"),
        asks={"text": {"format": {"type": "json_object"}}},
        chat_gets={"response_format": {"type": "json_object"}},
        native_gets={"text": {"format": {"type": "json_object"}}},
    ),
    Feature(
        "JSON schema",
        "`response_format`",
        "`text.format`",
        {"text": '{"a":1}'},
        text,
        ("completed", '{"a":1}'),
        asks={"text": {"format": {"type": "json_schema", **NAMED}}},
        packaged="test_the_packaged_model_keeps_to_a_schema",
        chat_gets={"response_format": {"type": "json_schema", "json_schema": NAMED}},
        native_gets={"text": {"format": {"type": "json_schema", **NAMED}}},
    ),
    Feature(
        "verbosity",
        "not sent",
        "`text.verbosity`",
        {"text": "ok"},
        text,
        ("completed", "ok"),
        asks={"text": {"verbosity": "low"}},
        lacks=("verbosity",),
        native_gets={"text": {"verbosity": "low"}},
    ),
    Feature(
        "reasoning",
        "`reasoning_effort`; `reasoning_content` or `reasoning` deltas",
        "`reasoning`; `reasoning_text` deltas",
        {"reasoning": "Hm. Well.", "text": "Yes"},
        parts,
        [("reasoning_text", "Hm. Well."), ("output_text", "Yes")],
        asks={"reasoning": {"effort": "low"}},
        chat_gets={"reasoning_effort": "low"},
        native_gets={"reasoning": {"effort": "low"}},
        model="thinks",
    ),
    Feature(
        "reasoning by think tags",
        '`reasoning_format = "think_tags"` separates it from `content`',
        "not read",
        {"text": "<think>\nHm. Well.\n</think>\n\nYes"},
        parts,
        {
            "chat_completions": [("reasoning_text", "Hm. Well."), ("output_text", "Yes")],
            "responses": [("output_text", "<think>\nHm. Well.\n</think>\n\nYes")],
        },
        model="tags",
    ),
    Feature(
        "reasoning of earlier turns",
        "`reasoning_content` of the message that followed it, if `supports` has `reasoning`",
        "`reasoning` items, if `supports` has `reasoning`",
        {"text": "ok"},
        text,
        ("completed", "ok"),
        before=(THOUGHT, {"role": "assistant", "content": "Yes"}),
        native_gets={"include": ["reasoning.encrypted_content"]},
        model="thinks",
    ),
    Feature(
        "reasoning summary",
        "not available",
        "`reasoning_summary_text` deltas",
        {"summary": ["First. Then."], "text": "Yes"},
        parts,
        {
            "chat_completions": [("output_text", "Yes")],
            "responses": [("summary_text", "First. Then."), ("output_text", "Yes")],
        },
        asks={"reasoning": {"summary": "auto"}},
        native_gets={"reasoning": {"summary": "auto"}},
        model="thinks",
    ),
    Feature(
        "refusal",
        "`refusal` deltas",
        "`refusal` deltas and parts",
        {"refusal": "I would rather not."},
        parts,
        [("refusal", "I would rather not.")],
    ),
    Feature(
        "log probabilities",
        "`logprobs`, `top_logprobs`",
        "`include`, `top_logprobs`",
        {"text": "a é", "logprobs": True},
        logprobs,
        [
            ("a ", [97, 32], -0.25, ["a "]),
            ("é", [195, 169], -0.25, ["é"]),
        ],
        asks={"include": ["message.output_text.logprobs"], "top_logprobs": 1},
        packaged="test_the_packaged_model_gives_log_probabilities",
        chat_gets={"logprobs": True, "top_logprobs": 1},
        native_gets={"include": ["message.output_text.logprobs"], "top_logprobs": 1},
    ),
    Feature(
        "log probabilities without alternatives",
        "`top_logprobs` are omitted",
        "the same",
        {"text": "a", "logprobs": True},
        logprobs,
        [("a", [97], -0.25, [])],
        asks={"include": ["message.output_text.logprobs"]},
        chat_gets={"logprobs": True},
        native_gets={"include": ["message.output_text.logprobs"]},
        lacks=("top_logprobs",),
    ),
    Feature(
        "log probabilities not requested",
        "omitted",
        "omitted",
        {"text": "a", "logprobs": True},
        logprobs,
        [],
        lacks=("logprobs", "top_logprobs", "include"),
    ),
    Feature(
        "usage",
        "`usage`, with details; otherwise estimated",
        "`usage`, with details; otherwise estimated",
        {"text": "one two", "cached_tokens": 1, "reasoning_tokens": 2},
        usage,
        (2, 1, 2),
        chat_gets={"stream_options": {"include_usage": True}},
    ),
    Feature(
        "`max_output_tokens`",
        "`max_tokens`, or the name in `max_tokens_field`; `finish_reason` `length`",
        "`max_output_tokens`; `incomplete_details`",
        {"tokens": 40},
        why,
        ("incomplete", "max_output_tokens"),
        asks={"max_output_tokens": 16},
        chat_gets={"max_tokens": 16},
        native_gets={"max_output_tokens": 16},
    ),
    Feature(
        "content filter",
        "`finish_reason` `content_filter`",
        "`incomplete_details`",
        {"text": "So", "finish": "content_filter"},
        why,
        ("incomplete", "content_filter"),
    ),
    Feature(
        "annotations",
        "`annotations` deltas",
        "`annotation.added` events",
        {"text": "So", "annotations": [CITED]},
        annotations,
        [CITED],
    ),
    Feature(
        "penalties and identifiers",
        "unchanged",
        "unchanged",
        {"text": "ok"},
        text,
        ("completed", "ok"),
        asks={"extra_body": {"presence_penalty": 0.5}, "user": "u", "prompt_cache_key": "k"},
        chat_gets={"presence_penalty": 0.5, "user": "u", "prompt_cache_key": "k"},
        native_gets={"presence_penalty": 0.5, "user": "u", "prompt_cache_key": "k"},
    ),
    Feature(
        "a prompt longer than the context",
        "status 400 with its error text, or an error in the stream",
        "the same",
        {"status": 400, "code": "context_length_exceeded"},
        failure,
        ("failed", "invalid_prompt"),
    ),
    Feature(
        "a refused prompt",
        "status 400, 413 or 422",
        "the same",
        {"status": 422},
        failure,
        ("failed", "invalid_prompt"),
    ),
)
