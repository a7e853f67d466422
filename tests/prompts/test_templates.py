"""Prompt templates: the checks, the expansion, and the time and the memory that they need."""

import time
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import errors
from core.prompts import templates
from core.prompts.prompt_requests import Template
from core.wire.base import TEXT_LIMIT

VALID_VARIABLE_NAMES = ["x", "x1", "a-b", "_", "__proto__", "constructor", "0", "n" * 64]


def template(instructions: str, *names: str, **fields: Any) -> Template:
    """A template with these instructions and text variables."""
    return Template.model_validate({"instructions": instructions, "variables": {name: {} for name in names}, **fields})


def expand(instructions: str, **values: str) -> str | None:
    """Check a template with these instructions; return the instructions with the values inserted."""
    prompt_template = template(instructions, *values)
    templates.check_template(prompt_template)
    expanded_instructions, _ = templates.expand(prompt_template, templates.resolve_values(prompt_template, values))
    return expanded_instructions


def template_error(prompt_template: Template) -> errors.InvalidRequest:
    """The error of an invalid template."""
    with pytest.raises(errors.InvalidRequest) as error_info:
        templates.check_template(prompt_template)
    return error_info.value


@pytest.mark.parametrize(
    ("text", "expanded_text"),
    [
        ("", ""),
        ("{{x}}", "V"),
        ("{{ x }}{{\n\tx\r}}", "VV"),
        ("a{{x}}b", "aVb"),
        ("{ {{x}} } }} {x} {", "{ V } }} {x} {"),
        (r"\{{x}} {{x}}", "{{x}} V"),
        ("{{{x}}}", "{V}"),
        (r"\{{{x}} {{x}}", "{{{x}} V"),
        (r"\{{{{x}}", "{{V"),
        (r"\{{{{{x}}", "{{{V"),
        (r"\\{{x}}", r"\V"),
        (r"\\\{{x}} {{x}}", r"\{{x}} V"),
        (r"\n \{ \\ {{x}}", r"\n \{ \\ V"),
        ("é\0\u2028{{x}}\U0001f600", "é\0\u2028V\U0001f600"),
        ("{{x}}}}", "V}}"),
    ],
)
def test_placeholders_are_replaced_and_other_text_does_not_change(text: str, expanded_text: str) -> None:
    values = {"x": "V"} if "V" in expanded_text else {}  # a variable that is not used would be an error

    assert expand(text, **values) == expanded_text


@pytest.mark.parametrize(
    "text",
    [
        "{{",
        "{{}}",
        "{{ }}",
        "{{x",
        "{{x}",
        "{{x y}}",
        "{{#if x}}",
        "{{x.y}}",
        "{{{{x}}}}",
        "{{ {{x}} }}",
        "{{{",
        "{{é}}",
        "{{x\0}}",
        "{{\u2003x}}",
        f"{{{{{'n' * 65}}}}}",
        r"\{{{{{{x}}}}",
        "{{x}}{{",
    ],
)
def test_an_incomplete_or_invalid_placeholder_is_rejected(text: str) -> None:
    error = template_error(template(text, "x"))

    assert error.param == "template.instructions"
    assert "does not begin a placeholder" in str(error)


@pytest.mark.parametrize("name", VALID_VARIABLE_NAMES)
def test_a_variable_name_may_contain_letters_digits_hyphens_and_underscores(name: str) -> None:
    assert expand(f"{{{{{name}}}}}", **{name: "V"}) == "V"


@pytest.mark.parametrize("value", ["{{x}}", "{{y}}", r"\{{x}}", "{{", "}}", "\0", "", "$1 \\1 %s {0}", "a" * 100_000])
def test_placeholders_in_a_value_are_not_expanded(value: str) -> None:
    assert expand("{{x}}|{{y}}", x=value, y="Y") == f"{value}|Y"


@given(st.text(alphabet="{}\\x a", max_size=40))
def test_any_text_can_be_escaped_with_backslashes(text: str) -> None:
    escaped_text, remaining_text = "", text
    while remaining_text:
        step = 2 if remaining_text.startswith("{{") else 1
        if step == 2:
            # Escape two braces with a backslash, and double the backslashes before them.
            escaped_text += "\\" * (len(escaped_text) - len(escaped_text.rstrip("\\")) + 1)
        escaped_text, remaining_text = escaped_text + remaining_text[:step], remaining_text[step:]

    assert expand(escaped_text) == text


@pytest.mark.parametrize(
    ("prompt_template", "param"),
    [
        ({"instructions": "{{x}}"}, "template.instructions"),
        ({"input": "{{x}}"}, "template.input"),
        ({"input": [{"role": "user", "content": "{{x}}"}]}, "template.input[0].content"),
        (
            {
                "input": [
                    {"role": "user", "content": "a"},
                    {"role": "assistant", "content": [{"type": "output_text", "text": "{{x}}"}]},
                ]
            },
            "template.input[1].content[0].text",
        ),
        ({"instructions": "a", "variables": {"x": {}}}, "template.variables.x"),
        ({"instructions": r"\{{x}}", "variables": {"x": {}}}, "template.variables.x"),
        ({"instructions": "{{x}}", "variables": {"x": {"type": "image"}}}, "template.instructions"),
        ({"input": "see {{x}}", "variables": {"x": {"type": "file"}}}, "template.input"),
        (
            {"input": [{"role": "system", "content": "{{x}}"}], "variables": {"x": {"type": "image"}}},
            "template.input[0].content",
        ),
        (
            {"input": [{"role": "user", "content": "{{x}}"}] * 2, "variables": {"x": {"type": "image"}}},
            "template.input[1].content",
        ),
        (
            {"input": "{{x}}", "variables": {"x": {"type": "image", "default": "a text"}}},
            "template.variables.x.default",
        ),
        ({"variables": {}}, "template"),
        ({"instructions": "a", "tool_choice": "required"}, "template.tool_choice"),
        ({"instructions": "a", "tools": [{"type": "function", "name": "f"}] * 2}, "template.tools"),
        ({"instructions": "{{x}}" * 1_001, "variables": {"x": {}}}, "template"),
    ],
)
def test_an_invalid_template_is_rejected_with_the_location_of_the_error(
    prompt_template: dict[str, Any], param: str
) -> None:
    assert template_error(Template.model_validate(prompt_template)).param == param


def test_placeholders_are_expanded_in_instructions_and_messages_of_every_role() -> None:
    prompt_template = Template.model_validate(
        {
            "instructions": "i{{x}}",
            "input": [
                {"role": "developer", "content": "d{{x}}"},
                {"role": "user", "content": [{"type": "input_text", "text": "u{{x}}"}]},
                {"role": "assistant", "content": [{"type": "output_text", "text": "a{{x}}"}]},
            ],
            "variables": {"x": {"default": "V"}},
        }
    )
    templates.check_template(prompt_template)

    instructions, messages = templates.expand(prompt_template, templates.resolve_values(prompt_template, {}))

    assert instructions == "iV"
    assert messages[0].content == "dV"
    assert [part.text for message in messages[1:] for part in message.content] == ["uV", "aV"]  # type: ignore[union-attr]


def test_10_000_placeholders_and_overlong_values_are_rejected_without_large_allocations() -> None:
    assert "10000 placeholders" in str(template_error(template("{{x}}" * 10_000, "x")))
    prompt_template = template("{{x}}" * 1_000, "x")
    templates.check_template(prompt_template)
    values = templates.resolve_values(prompt_template, {"x": "v" * TEXT_LIMIT})

    tracemalloc.start()
    try:
        with pytest.raises(errors.InvalidRequest) as error_info:
            templates.expand(prompt_template, values)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert error_info.value.param == "prompt.variables"
    assert peak_bytes < 2_000_000


@pytest.mark.parametrize(
    "text", ["\\" * 1_000_000, "\\{{" * 300_000, "{ " * 500_000, "{{" + " " * 1_000_000, "}" * 10**6]
)
def test_very_long_templates_are_checked_in_less_than_5_s(text: str) -> None:
    prompt_template = template(text)
    cpu_before_s = time.process_time()
    try:
        templates.check_template(prompt_template)
    except errors.InvalidRequest as error:
        assert error.param == "template.instructions"

    assert time.process_time() - cpu_before_s < 5
