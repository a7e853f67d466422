"""The mapping of each feature to each model-server API, which tests verify and docs/model-servers.md shows."""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from openai.types.responses import Response

from tests import documents
from tests.matrix.extracted_values import (
    annotations,
    calls,
    calls_after_text,
    incomplete_reason,
    logprobs,
    parts,
    status_and_code,
    text,
    usage,
)

Fields = Mapping[str, Any]


@dataclass(frozen=True)
class Feature:
    """One feature.

    Args:
        name: name of the feature on the page.
        chat_text: description of the mapping to Chat Completions.
        responses_text: description of the mapping to the Responses API.
        script: behavior of the scripted model server.
        extract: function that returns the value to compare from a response.
        expected: value that `extract` must return; if a dict, one value per API.
        request: fields of the client's request besides `input`.
        earlier_items: input items before the last one, which contains the script.
        chat_body: fields that the request to a Chat Completions server must contain.
        responses_body: fields that the request to a Responses server must contain.
        absent_fields: names of fields that a request to a model server must not contain.
        packaged_test: name of the test of this feature with the packaged model.
        model: name of the configured model, without its API.
    """

    name: str
    chat_text: str
    responses_text: str
    script: Fields
    extract: Callable[[Response], Any]
    expected: Any
    request: Fields = field(default_factory=dict)
    earlier_items: tuple[Fields, ...] = ()
    chat_body: Fields = field(default_factory=dict)
    responses_body: Fields = field(default_factory=dict)
    absent_fields: tuple[str, ...] = ()
    packaged_test: str = ""
    model: str = "plain"


ARGUMENTS_SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "integer"}},
    "required": ["a"],
    "additionalProperties": False,
}
SCHEMA_FORMAT = {"name": "n", "schema": ARGUMENTS_SCHEMA, "strict": True}
FUNCTION = {"type": "function", "name": "f", "parameters": ARGUMENTS_SCHEMA, "strict": True}
CUSTOM = {"type": "custom", "name": "c"}
CALL = {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": '{"a":1}'}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "1"}
CUSTOM_CALL = {"type": "custom_tool_call", "call_id": "call_2", "name": "c", "input": "go"}
CUSTOM_OUTPUT = {"type": "custom_tool_call_output", "call_id": "call_2", "output": "2"}
FIRST_CALL = {"id": "call_1", "name": "f", "arguments": '{"a":1}'}
SECOND_CALL = {"id": "call_2", "name": "f", "arguments": '{"a":2}'}
CUSTOM_INPUT_SCHEMA = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
CITATION = {"type": "url_citation", "url": "https://example.com/", "title": "Example", "start_index": 0, "end_index": 2}
REASONING_ITEM = {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]}

IMAGE_URL = documents.data_url("image/png", documents.image())
IMAGE_PART = {"type": "input_image", "image_url": IMAGE_URL, "detail": "low"}
FILE_PART = {"type": "input_file", "filename": "a.txt", "file_data": base64.b64encode(b"Read me.").decode()}
FILE_TEXT = "\n[File: a.txt]\nRead me.\n[End of the file]\n"

FEATURES = (
    Feature(
        "text",
        "`content`, in deltas or in one piece",
        "`output_text.delta`, or whole items",
        {"text": "Hello you"},
        text,
        ("completed", "Hello you"),
        absent_fields=(
            "tools",
            "tool_choice",
            "response_format",
            "text",
            "max_tokens",
            "max_output_tokens",
            "reasoning",
        ),
        packaged_test="test_the_packaged_model_answers_in_text",
        chat_body={"stream": True, "temperature": 1},
        responses_body={"stream": True, "store": False, "temperature": 1},
    ),
    Feature(
        "instructions",
        "the first message, with role `system`",
        "`instructions`",
        {"text": "ok"},
        text,
        ("completed", "ok"),
        request={"instructions": "Be brief."},
        responses_body={"instructions": "Be brief."},
    ),
    Feature(
        "image",
        "a part `image_url`",
        "a part `input_image`",
        {"text": "ok"},
        text,
        ("completed", "ok"),
        earlier_items=({"role": "user", "content": [IMAGE_PART]},),
        chat_body={
            "messages": [
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": IMAGE_URL, "detail": "low"}}]}
            ]
        },
        responses_body={"input": [{"type": "message", "role": "user", "content": [IMAGE_PART]}]},
    ),
    Feature(
        "file",
        "the text of the file",
        "the text of the file; for models that support `files`, the unchanged file",
        {"text": "ok"},
        text,
        ("completed", "ok"),
        earlier_items=({"role": "user", "content": [FILE_PART]},),
        chat_body={"messages": [{"role": "user", "content": FILE_TEXT}]},
        responses_body={
            "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": FILE_TEXT}]}]
        },
    ),
    Feature(
        "function call",
        "`tool_calls`, in pieces or whole",
        "`function_call` items",
        {"tool_calls": [FIRST_CALL]},
        calls,
        [("function_call", "call_1", "f", '{"a":1}')],
        request={"tools": [FUNCTION], "tool_choice": {"type": "function", "name": "f"}},
        chat_body={
            "tools": [{"type": "function", "function": {"name": "f", "parameters": ARGUMENTS_SCHEMA, "strict": True}}],
            "tool_choice": {"type": "function", "function": {"name": "f"}},
        },
        responses_body={"tools": [FUNCTION], "tool_choice": {"type": "function", "name": "f"}},
    ),
    Feature(
        "parallel calls",
        "`parallel_tool_calls`; several `tool_calls`",
        "`parallel_tool_calls`; several items",
        {"text": "So", "tool_calls": [FIRST_CALL, SECOND_CALL]},
        calls_after_text,
        ["call_1", "call_2"],
        request={"tools": [FUNCTION], "parallel_tool_calls": True},
        chat_body={"parallel_tool_calls": True},
        responses_body={"parallel_tool_calls": True},
    ),
    Feature(
        "custom tool",
        "a function with the single argument `input`",
        "`custom` tools and `custom_tool_call` items",
        {"tool_calls": [{"id": "call_2", "name": "c", "arguments": '{"input": "go"}'}]},
        calls,
        [("custom_tool_call", "call_2", "c", "go")],
        request={"tools": [CUSTOM]},
        chat_body={"tools": [{"type": "function", "function": {"name": "c", "parameters": CUSTOM_INPUT_SCHEMA}}]},
        responses_body={"tools": [CUSTOM]},
    ),
    Feature(
        "tool outputs",
        "an `assistant` message with `tool_calls`, and `tool` messages",
        "the items, unchanged",
        {"text": "ok"},
        text,
        ("completed", "ok"),
        earlier_items=(CALL, CUSTOM_CALL, OUTPUT, CUSTOM_OUTPUT),
        responses_body={"input": [CALL, CUSTOM_CALL, OUTPUT, CUSTOM_OUTPUT]},
    ),
    Feature(
        "JSON object",
        "`response_format`",
        "`text.format`",
        {"text": "{}"},
        text,
        ("completed", "{}"),
        request={"text": {"format": {"type": "json_object"}}},
        chat_body={"response_format": {"type": "json_object"}},
        responses_body={"text": {"format": {"type": "json_object"}}},
    ),
    Feature(
        "JSON schema",
        "`response_format`",
        "`text.format`",
        {"text": '{"a":1}'},
        text,
        ("completed", '{"a":1}'),
        request={"text": {"format": {"type": "json_schema", **SCHEMA_FORMAT}}},
        packaged_test="test_the_packaged_model_keeps_to_a_schema",
        chat_body={"response_format": {"type": "json_schema", "json_schema": SCHEMA_FORMAT}},
        responses_body={"text": {"format": {"type": "json_schema", **SCHEMA_FORMAT}}},
    ),
    Feature(
        "verbosity",
        "not sent",
        "`text.verbosity`",
        {"text": "ok"},
        text,
        ("completed", "ok"),
        request={"text": {"verbosity": "low"}},
        absent_fields=("verbosity",),
        responses_body={"text": {"verbosity": "low"}},
    ),
    Feature(
        "reasoning",
        "`reasoning_effort`; `reasoning_content` or `reasoning` deltas",
        "`reasoning`; `reasoning_text` deltas",
        {"reasoning": "Hm. Well.", "text": "Yes"},
        parts,
        [("reasoning_text", "Hm. Well."), ("output_text", "Yes")],
        request={"reasoning": {"effort": "low"}},
        chat_body={"reasoning_effort": "low"},
        responses_body={"reasoning": {"effort": "low"}},
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
        "`reasoning_content` of the following message, if `supports` has `reasoning`",
        "`reasoning` items, if `supports` has `reasoning`",
        {"text": "ok"},
        text,
        ("completed", "ok"),
        earlier_items=(REASONING_ITEM, {"role": "assistant", "content": "Yes"}),
        responses_body={"include": ["reasoning.encrypted_content"]},
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
        request={"reasoning": {"summary": "auto"}},
        responses_body={"reasoning": {"summary": "auto"}},
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
        request={"include": ["message.output_text.logprobs"], "top_logprobs": 1},
        packaged_test="test_the_packaged_model_gives_log_probabilities",
        chat_body={"logprobs": True, "top_logprobs": 1},
        responses_body={"include": ["message.output_text.logprobs"], "top_logprobs": 1},
    ),
    Feature(
        "log probabilities without alternatives",
        "`top_logprobs` are omitted",
        "the same",
        {"text": "a", "logprobs": True},
        logprobs,
        [("a", [97], -0.25, [])],
        request={"include": ["message.output_text.logprobs"]},
        chat_body={"logprobs": True},
        responses_body={"include": ["message.output_text.logprobs"]},
        absent_fields=("top_logprobs",),
    ),
    Feature(
        "log probabilities not requested",
        "omitted",
        "omitted",
        {"text": "a", "logprobs": True},
        logprobs,
        [],
        absent_fields=("logprobs", "top_logprobs", "include"),
    ),
    Feature(
        "usage",
        "`usage`, with details; otherwise estimated",
        "`usage`, with details; otherwise estimated",
        {"text": "one two", "cached_tokens": 1, "reasoning_tokens": 2},
        usage,
        (2, 1, 2),
        chat_body={"stream_options": {"include_usage": True}},
    ),
    Feature(
        "`max_output_tokens`",
        "`max_tokens`, or the name in `max_tokens_field`; `finish_reason` `length`",
        "`max_output_tokens`; `incomplete_details`",
        {"tokens": 40},
        incomplete_reason,
        ("incomplete", "max_output_tokens"),
        request={"max_output_tokens": 16},
        chat_body={"max_tokens": 16},
        responses_body={"max_output_tokens": 16},
    ),
    Feature(
        "content filter",
        "`finish_reason` `content_filter`",
        "`incomplete_details`",
        {"text": "So", "finish": "content_filter"},
        incomplete_reason,
        ("incomplete", "content_filter"),
    ),
    Feature(
        "annotations",
        "`annotations` deltas",
        "`annotation.added` events",
        {"text": "So", "annotations": [CITATION]},
        annotations,
        [CITATION],
    ),
    Feature(
        "penalties and identifiers",
        "unchanged",
        "unchanged",
        {"text": "ok"},
        text,
        ("completed", "ok"),
        request={"extra_body": {"presence_penalty": 0.5}, "user": "u", "prompt_cache_key": "k"},
        chat_body={"presence_penalty": 0.5, "user": "u", "prompt_cache_key": "k"},
        responses_body={"presence_penalty": 0.5, "user": "u", "prompt_cache_key": "k"},
    ),
    Feature(
        "a prompt longer than the context",
        "status 400 with an error about the context, or such an error in the stream",
        "the same",
        {"status": 400, "code": "context_length_exceeded"},
        status_and_code,
        ("failed", "invalid_prompt"),
    ),
    Feature(
        "a refused prompt",
        "status 400, 413 or 422",
        "the same",
        {"status": 422},
        status_and_code,
        ("failed", "invalid_prompt"),
    ),
)
