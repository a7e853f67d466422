"""Every parameter of a create: what it takes, and how each wrong value is refused."""

from typing import Any

import pytest

from tests.integration.http_api import Api, error_of

LONG = 10_485_761


def message(**changes: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": "hi"}, {"role": "user", "content": "hi"} | changes]


def parts(*last: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "input_text", "text": "hi"}, *last]}]


WRONG = {
    "model of null": ("model", None, "missing_required_parameter", "model"),
    "model of a number": ("model", 5, "invalid_type", "model"),
    "model of a boolean": ("model", True, "invalid_type", "model"),
    "model of a list": ("model", ["scripted"], "invalid_type", "model"),
    "model that is unknown": ("model", "gpt-99", "model_not_found", "model"),
    "model that is empty": ("model", "", "model_not_found", "model"),
    "model in other letters": ("model", "Scripted", "model_not_found", "model"),
    "model with NUL": ("model", "scripted\0", "model_not_found", "model"),
    "model that is endless": ("model", "m" * 1_000_000, "string_above_max_length", "model"),
    "input of null": ("input", None, "missing_required_parameter", "input"),
    "input of a number": ("input", 5, "invalid_type", "input"),
    "input of a boolean": ("input", False, "invalid_type", "input"),
    "input of one message": ("input", {"role": "user", "content": "hi"}, "invalid_type", "input"),
    "input without an item": ("input", [], "array_below_min_length", "input"),
    "input that is too long": ("input", "x" * LONG, "string_above_max_length", "input"),
    "input of strings": ("input", ["hi"], "invalid_type", "input[0]"),
    "input of lists": ("input", [[]], "invalid_type", "input[0]"),
    "input of nulls": ("input", [None], "invalid_type", "input[0]"),
    "input of numbers by the million": ("input", [1] * 1_000_000, "invalid_type", "input[0]"),
    "message that is empty": ("input", [{}], "missing_required_parameter", "input[0].role"),
    "message without a role": ("input", [{"content": "hi"}], "missing_required_parameter", "input[0].role"),
    "message of nobody": ("input", message(role="nobody"), "invalid_value", "input[1].role"),
    "message of a tool": ("input", message(role="tool"), "invalid_value", "input[1].role"),
    "role that is a list": ("input", message(role=["user"]), "invalid_type", "input[1].role"),
    "message without content": ("input", [{"role": "user"}], "missing_required_parameter", "input[0].content"),
    "content of null": ("input", message(content=None), "missing_required_parameter", "input[1].content"),
    "content of a number": ("input", message(content=5), "invalid_type", "input[1].content"),
    "content of a boolean": ("input", message(content=True), "invalid_type", "input[1].content"),
    "content of one part": ("input", message(content={"type": "input_text"}), "invalid_type", "input[1].content"),
    "content that is too long": ("input", message(content="x" * LONG), "string_above_max_length", "input[1].content"),
    "item of another type": ("input", message(type="function_call"), "invalid_value", "input[1].type"),
    "item with a number for type": ("input", message(type=5), "invalid_type", "input[1].type"),
    "part that is a string": ("input", parts("hi"), "invalid_type", "input[0].content[1]"),
    "part that is null": ("input", parts(None), "invalid_type", "input[0].content[1]"),
    "part without a type": ("input", parts({"text": "a"}), "missing_required_parameter", "input[0].content[1].type"),
    "part that is an image": ("input", parts({"type": "input_image"}), "invalid_value", "input[0].content[1].type"),
    "part without text": (
        "input",
        parts({"type": "input_text"}),
        "missing_required_parameter",
        "input[0].content[1].text",
    ),
    "part with a number for text": (
        "input",
        parts({"type": "input_text", "text": 5}),
        "invalid_type",
        "input[0].content[1].text",
    ),
    "part with too long a text": (
        "input",
        parts({"type": "input_text", "text": "x" * LONG}),
        "string_above_max_length",
        "input[0].content[1].text",
    ),
    "instructions of a number": ("instructions", 5, "invalid_type", "instructions"),
    "instructions of a boolean": ("instructions", True, "invalid_type", "instructions"),
    "instructions of a list": ("instructions", ["be brief"], "invalid_type", "instructions"),
    "instructions that are too long": ("instructions", "x" * LONG, "string_above_max_length", "instructions"),
    "background of a string": ("background", "true", "invalid_type", "background"),
    "background of a number": ("background", 1, "invalid_type", "background"),
    "background of a list": ("background", [True], "invalid_type", "background"),
    "background of null": ("background", None, "unsupported_parameter", "background"),
    "background of false": ("background", False, "unsupported_parameter", "background"),
    "store of a string": ("store", "false", "invalid_type", "store"),
    "store of a number": ("store", 0, "invalid_type", "store"),
    "store of an object": ("store", {}, "invalid_type", "store"),
    "store of false": ("store", False, "unsupported_parameter", "background"),
    "max_output_tokens of a string": ("max_output_tokens", "100", "invalid_type", "max_output_tokens"),
    "max_output_tokens of a boolean": ("max_output_tokens", True, "invalid_type", "max_output_tokens"),
    "max_output_tokens of a decimal": ("max_output_tokens", 100.0, "invalid_type", "max_output_tokens"),
    "max_output_tokens of a list": ("max_output_tokens", [100], "invalid_type", "max_output_tokens"),
    "max_output_tokens of 15": ("max_output_tokens", 15, "integer_below_min_value", "max_output_tokens"),
    "max_output_tokens of -1": ("max_output_tokens", -1, "integer_below_min_value", "max_output_tokens"),
    "max_output_tokens of 2^31": ("max_output_tokens", 2**31, "integer_above_max_value", "max_output_tokens"),
    "max_output_tokens of 2^64-1": ("max_output_tokens", 2**64 - 1, "integer_above_max_value", "max_output_tokens"),
    "max_output_tokens of 10^30": ("max_output_tokens", 10**30, "invalid_type", "max_output_tokens"),
    "temperature of a string": ("temperature", "1", "invalid_type", "temperature"),
    "temperature of a boolean": ("temperature", True, "invalid_type", "temperature"),
    "temperature of an object": ("temperature", {"value": 1}, "invalid_type", "temperature"),
    "temperature below 0": ("temperature", -0.1, "decimal_below_min_value", "temperature"),
    "temperature of -1": ("temperature", -1, "decimal_below_min_value", "temperature"),
    "temperature above 2": ("temperature", 2.1, "decimal_above_max_value", "temperature"),
    "temperature of 10^300": ("temperature", 1e300, "decimal_above_max_value", "temperature"),
    "top_p of a string": ("top_p", "1", "invalid_type", "top_p"),
    "top_p of a boolean": ("top_p", False, "invalid_type", "top_p"),
    "top_p of a list": ("top_p", [1], "invalid_type", "top_p"),
    "top_p below 0": ("top_p", -0.01, "decimal_below_min_value", "top_p"),
    "top_p above 1": ("top_p", 1.01, "decimal_above_max_value", "top_p"),
    "metadata of a string": ("metadata", "a=b", "invalid_type", "metadata"),
    "metadata of a number": ("metadata", 0, "invalid_type", "metadata"),
    "metadata of pairs": ("metadata", [["a", "b"]], "invalid_type", "metadata"),
    "metadata of 17 pairs": ("metadata", {str(n): "" for n in range(17)}, "object_above_max_properties", "metadata"),
    "metadata of numbers by the million": (
        "metadata",
        {str(n): n for n in range(200_000)},
        "object_above_max_properties",
        "metadata",
    ),
    "metadata with a number": ("metadata", {"team": "a", "foo": 5}, "invalid_type", "metadata.foo"),
    "metadata with a boolean": ("metadata", {"foo": True}, "invalid_type", "metadata.foo"),
    "metadata with null": ("metadata", {"foo": None}, "invalid_type", "metadata.foo"),
    "metadata with an object": ("metadata", {"foo": {"bar": "baz"}}, "invalid_type", "metadata.foo"),
    "metadata with a number under text": ("metadata", {"text": 5}, "invalid_type", "metadata.text"),
    "metadata with a number under <list>": ("metadata", {"<list>": 5}, "invalid_type", "metadata.<list>"),
    "metadata with a number under [key]": ("metadata", {"[key]": 5}, "invalid_type", "metadata.[key]"),
    "metadata with a number under a.b": ("metadata", {"a.b": 5}, "invalid_type", "metadata.a.b"),
    "metadata with too long a key": ("metadata", {"k" * 65: "a"}, "string_above_max_length", "metadata"),
    "metadata with an endless key": ("metadata", {"k" * 1_000_000: "a"}, "string_above_max_length", "metadata"),
    "metadata with too long a value": ("metadata", {"foo": "v" * 513}, "string_above_max_length", "metadata.foo"),
    "service_tier of a number": ("service_tier", 1, "invalid_type", "service_tier"),
    "service_tier of a boolean": ("service_tier", True, "invalid_type", "service_tier"),
    "service_tier of a list": ("service_tier", ["auto"], "invalid_type", "service_tier"),
    "service_tier of no name": ("service_tier", "", "invalid_value", "service_tier"),
    "service_tier of a wrong name": ("service_tier", "gold", "invalid_value", "service_tier"),
    "service_tier of an endless name": ("service_tier", "gold" * 100_000, "invalid_value", "service_tier"),
    "service_tier of over-limit": ("service_tier", "over-limit", "invalid_value", "service_tier"),
}


@pytest.mark.parametrize(("name", "value", "code", "param"), WRONG.values(), ids=WRONG)
def test_a_wrong_value_is_refused_by_its_place_and_nothing_is_stored(
    api: Api, name: str, value: Any, code: str, param: str
) -> None:
    before = api.stored()

    error_of(api.create(**{name: value}), 400, code, param)

    assert api.stored() == before


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"temperature": "hot"}, "Invalid type for 'temperature': expected a number, but got a string."),
        ({"background": 1}, "Invalid type for 'background': expected a boolean, but got an integer."),
        ({"input": 5}, "Invalid type for 'input': expected a string or an array, but got an integer."),
        ({"input": [None]}, "Invalid type for 'input[0]': expected an object, but got null."),
        ({"model": None}, "Missing required parameter: 'model'."),
        ({"model": "nope"}, "The model 'nope' does not exist."),
        ({"temperature": 3}, "Invalid 'temperature': 3 is more than 2.0."),
        ({"top_p": -0.5}, "Invalid 'top_p': -0.5 is less than 0.0."),
        ({"max_output_tokens": 1}, "Invalid 'max_output_tokens': 1 is less than 16."),
        ({"input": []}, "Invalid 'input': it is empty; at least one item is needed."),
        (
            {"metadata": {"a": "v" * 600}},
            "Invalid 'metadata.a': it has 600 characters; at most 512 are allowed.",
        ),
        (
            {"metadata": dict.fromkeys(map(str, range(20)), "")},
            "Invalid 'metadata': it has 20 pairs; at most 16 are allowed.",
        ),
        (
            {"input": [{"role": "nobody", "content": ""}]},
            "Invalid value for 'input[0].role': \"nobody\"; expected 'user', 'assistant', 'system' or 'developer'.",
        ),
        ({"tools": [{"type": "function"}]}, "'tools' is not supported."),
    ],
)
def test_a_refusal_says_what_was_wrong_in_plain_words(api: Api, changes: dict[str, Any], says: str) -> None:
    assert api.create(**changes).get_json()["error"]["message"] == says


GOOD_VALUES: list[dict[str, Any]] = [
    {"input": ""},
    {"input": "x" * (LONG - 1)},
    {"input": "NUL \0, line\u2028end, 😀, \ufffe, \u202e"},
    {"input": [{"role": role, "content": "hi"} for role in ("user", "assistant", "system", "developer")]},
    {"input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}]},
    {"input": [{"type": None, "role": "user", "content": "hi", "id": None, "unknown": 1}]},
    {"input": [{"role": "assistant", "content": [{"type": "output_text", "text": "hi", "annotations": []}]}]},
    {"instructions": "Be brief.\0"},
    {"max_output_tokens": 16},
    {"max_output_tokens": 2**31 - 1},
    {"temperature": 0},
    {"temperature": 2},
    {"temperature": 0.7, "top_p": 0.25},
    {"top_p": 0},
    {"metadata": {}},
    {"metadata": {"k" * 64: "v" * 512, "": "", "nul\0": "\0", "text": "a", "<text>": "b"}},
    {"metadata": {str(n): "" for n in range(16)}},
    {"model": "meta/llama-3"},
    {"model": "scripted", "unheard_of": {"deep": [1, 2, 3]}, "client_metadata": {"a": 1}},
    dict.fromkeys(("instructions", "max_output_tokens", "temperature", "top_p", "metadata", "store", "service_tier")),
    {"store": True},
]


@pytest.mark.parametrize("changes", GOOD_VALUES, ids=range(len(GOOD_VALUES)))
def test_a_good_value_is_taken_echoed_and_found_again(api: Api, changes: dict[str, Any]) -> None:
    created = api.created(**changes)

    assert api.get(created["id"]).get_json() == created
    echoed = {name: value for name, value in changes.items() if value is not None and name in created}
    assert {name: created[name] for name in echoed} == echoed


def test_of_a_parameter_given_twice_the_last_counts(api: Api) -> None:
    created = api.post(
        b'{"model":"nope","temperature":9,"background":true,"input":"hi","model":"scripted","temperature":2}'
    )

    assert created.get_json()["model"] == "scripted"
    assert created.get_json()["temperature"] == 2
