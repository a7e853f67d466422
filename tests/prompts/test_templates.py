"""Templates: which are accepted, what they expand to, and that their cost is bounded."""

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

NAMES = ["x", "x1", "a-b", "_", "__proto__", "constructor", "0", "n" * 64]


def template(instructions: str, *names: str, **more: Any) -> Template:
    """A template with these instructions and text variables."""
    return Template.model_validate({"instructions": instructions, "variables": {key: {} for key in names}, **more})


def expanded(instructions: str, **values: str) -> str | None:
    made = template(instructions, *values)
    templates.check(made)
    return templates.expand(made, templates.values(made, values))[0]


def refusal(made: Template) -> errors.InvalidRequest:
    with pytest.raises(errors.InvalidRequest) as refused:
        templates.check(made)
    return refused.value


@pytest.mark.parametrize(
    ("text", "says"),
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
def test_placeholders_are_replaced_and_everything_else_stays_as_it_is(text: str, says: str) -> None:
    assert expanded(text, **({"x": "V"} if "V" in says else {})) == says


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
def test_what_begins_like_a_placeholder_and_is_none_is_refused(text: str) -> None:
    error = refusal(template(text, "x"))

    assert error.param == "template.instructions"
    assert "does not begin a placeholder" in str(error)


@pytest.mark.parametrize("name", NAMES)
def test_a_variable_may_have_any_name_of_letters_and_digits(name: str) -> None:
    assert expanded(f"{{{{{name}}}}}", **{name: "V"}) == "V"


@pytest.mark.parametrize("value", ["{{x}}", "{{y}}", r"\{{x}}", "{{", "}}", "\0", "", "$1 \\1 %s {0}", "a" * 100_000])
def test_a_value_is_never_looked_at_again(value: str) -> None:
    assert expanded("{{x}}|{{y}}", x=value, y="Y") == f"{value}|Y"


@given(st.text(alphabet="{}\\x a", max_size=40))
def test_any_text_can_be_written_with_backslashes(text: str) -> None:
    written, rest = "", text
    while rest:
        taken = 2 if rest.startswith("{{") else 1
        if taken == 2:
            # Escape two braces with a backslash, and double the backslashes before them.
            written += "\\" * (len(written) - len(written.rstrip("\\")) + 1)
        written, rest = written + rest[:taken], rest[taken:]

    assert expanded(written) == text


@pytest.mark.parametrize(
    ("made", "param"),
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
def test_a_template_that_cannot_be_used_is_refused_by_its_place(made: dict[str, Any], param: str) -> None:
    assert refusal(Template.model_validate(made)).param == param


def test_placeholders_stand_in_instructions_and_in_the_texts_of_messages_of_every_role() -> None:
    made = Template.model_validate(
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
    templates.check(made)

    instructions, messages = templates.expand(made, templates.values(made, {}))

    assert instructions == "iV"
    assert messages[0].content == "dV"
    assert [part.text for message in messages[1:] for part in message.content] == ["uV", "aV"]  # type: ignore[union-attr]


def test_ten_thousand_placeholders_are_refused_and_a_thousand_with_huge_values_cost_nothing() -> None:
    assert "10000 placeholders" in str(refusal(template("{{x}}" * 10_000, "x")))
    made = template("{{x}}" * 1_000, "x")
    templates.check(made)
    values = templates.values(made, {"x": "v" * TEXT_LIMIT})

    tracemalloc.start()
    try:
        with pytest.raises(errors.InvalidRequest) as refused:
            templates.expand(made, values)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert refused.value.param == "prompt.variables"
    assert peak < 2_000_000


@pytest.mark.parametrize(
    "text", ["\\" * 1_000_000, "\\{{" * 300_000, "{ " * 500_000, "{{" + " " * 1_000_000, "}" * 10**6]
)
def test_a_text_of_a_million_braces_is_read_once(text: str) -> None:
    made = template(text)
    began = time.process_time()
    try:
        templates.check(made)
    except errors.InvalidRequest as error:
        assert error.param == "template.instructions"

    assert time.process_time() - began < 5
