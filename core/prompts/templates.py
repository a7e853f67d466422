"""Prompt templates: parsing of placeholders and insertion of values. Pure functions.

`{{name}}` is a placeholder, and `{{{name}}` is a literal brace followed by a placeholder. A backslash before `{{` makes
these two braces literal; two backslashes before `{{` are one literal backslash. Inserted values are never parsed, so
placeholders in values are not expanded.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from core import errors
from core.prompts.prompt_requests import DEFAULTS, Template, Variable
from core.wire import rules
from core.wire.base import TEXT_LIMIT
from core.wire.items import Message
from core.wire.parts import InputText, OutputText
from core.wire.request import VARIABLE_NAME, CreateResponse

PLACEHOLDERS_LIMIT = 1_000  # in all texts of one template
# The type of message part that each type of variable accepts; `text` accepts a string as well.
_PART_TYPES = {"text": "input_text", "image": "input_image", "file": "input_file"}
_PLACEHOLDER_NAME = re.compile(rf"[ \t\r\n]*({VARIABLE_NAME})[ \t\r\n]*\}}\}}")

Values = Mapping[str, Any]  # strings or message parts, by variable name


@dataclass(frozen=True)
class _Placeholder:
    name: str


@dataclass(frozen=True)
class _Text:
    """A text of a template, before its placeholders are expanded.

    Args:
        location: location in the request that creates the prompt or version.
        role: role of the message that contains the text; None for the instructions.
    """

    location: str
    role: str | None
    text: str


def check_template(template: Template) -> None:
    """Check that a template is valid.

    Raises:
        errors.InvalidRequest: the template is invalid; the error names the location, beginning with `template`.
    """
    if template.instructions is None and template.input is None:
        raise errors.InvalidRequest(
            "A template needs 'instructions' or 'input'.", param="template", code="missing_required_parameter"
        )
    for name, variable in template.variables.items():
        if variable.default is not None:
            _convert_value(variable, variable.default, f"template.variables.{name}.default")
    placeholder_counts: Counter[str] = Counter()
    for text in _texts(template):
        pieces = _split_text(text.text, text.location)
        for piece in pieces:
            if isinstance(piece, _Placeholder):
                placeholder_counts[piece.name] += 1
                may_stand_for_part = len(pieces) == 1 and placeholder_counts[piece.name] == 1
                _check_placeholder(template, text, piece.name, may_stand_for_part=may_stand_for_part)
    if placeholder_counts.total() > PLACEHOLDERS_LIMIT:
        raise errors.InvalidRequest(
            f"The template has {placeholder_counts.total()} placeholders; at most {PLACEHOLDERS_LIMIT} are allowed.",
            param="template",
        )
    for name in template.variables:
        if name not in placeholder_counts:
            raise errors.InvalidRequest(
                f"The variable '{name}' is not used: no text contains the placeholder '{{{{{name}}}}}'.",
                param=f"template.variables.{name}",
            )
    with relocate_errors():
        rules.check_parameters(build_request(template))


def resolve_values(template: Template, request_values: Values) -> Values:
    """Return the value of each variable of the template: the value in the request, or else the default.

    Raises:
        errors.InvalidRequest: a variable is missing, unknown or of the wrong type; the error names the variable.
    """
    for name in request_values:
        if name not in template.variables:
            param = f"prompt.variables.{name}"
            raise errors.InvalidRequest(f"The prompt has no variable '{name}'.", param=param, code="unknown_parameter")
    values_by_name = {}
    for name, variable in template.variables.items():
        param = f"prompt.variables.{name}"
        value = request_values.get(name, variable.default)
        if value is None:
            raise errors.InvalidRequest(
                f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter"
            )
        values_by_name[name] = _convert_value(variable, value, param)
    return values_by_name


def expand(template: Template, variable_values: Values) -> tuple[str | None, list[Message]]:
    """Expand the instructions and the messages of a template: replace placeholders by values.

    Args:
        variable_values: the result of `resolve_values`.

    Raises:
        errors.InvalidRequest: the texts together would exceed the limit of one text. Their length is checked before any
            text is expanded.
    """
    pieces_by_location = {text.location: _split_text(text.text, text.location) for text in _texts(template)}
    length = sum(_piece_length(piece, variable_values) for pieces in pieces_by_location.values() for piece in pieces)
    if length > TEXT_LIMIT:
        raise errors.InvalidRequest(
            f"Invalid 'prompt.variables': the prompt would have {length} characters; at most {TEXT_LIMIT} are allowed.",
            param="prompt.variables",
            code="string_above_max_length",
        )
    expanded_texts = {
        location: _fill_placeholders(pieces, variable_values) for location, pieces in pieces_by_location.items()
    }
    if isinstance(template.input, str):
        content = expanded_texts["template.input"]
        messages = [Message(role="user", content=content if isinstance(content, str) else [content])]
    else:
        messages = [
            Message(
                role=message.role,
                content=_expand_content(message.content, expanded_texts, location),
                phase=message.phase,
            )
            for location, message in _messages(template)
        ]
    return expanded_texts.get("template.instructions"), messages


def _check_placeholder(template: Template, text: _Text, name: str, *, may_stand_for_part: bool) -> None:
    """Check a placeholder in a text.

    Args:
        may_stand_for_part: whether the placeholder is the entire text, and the first one with this name.
    """
    variable = template.variables.get(name)
    if variable is None:
        raise errors.InvalidRequest(
            f"'{{{{{name}}}}}' in '{text.location}' is not a variable of the template.", param=text.location
        )
    if variable.type != "text" and (text.role != "user" or not may_stand_for_part):
        raise errors.InvalidRequest(
            f"'{{{{{name}}}}}' stands for a part of type '{_PART_TYPES[variable.type]}': a template may contain it"
            " once, as the entire text of a user message or of one of its parts.",
            param=text.location,
        )


def build_request(template: Template) -> CreateResponse:
    """Build a request with the parameters and messages of a template, for checks. Placeholders are not expanded."""
    defaults = {name: value for name in DEFAULTS if (value := getattr(template, name)) is not None}
    messages = [Message(role=message.role, content=message.content) for _, message in _messages(template)]
    return CreateResponse(input="").model_copy(update={"model": "", "input": messages or "", **defaults})


@contextmanager
def relocate_errors() -> Iterator[None]:
    """Change the parameter of errors in a request from `build_request` to its location in the template."""
    try:
        yield
    except errors.InvalidRequest as error:
        param = f"template.{error.param}" if error.param else "template"
        raise errors.InvalidRequest(str(error), param=param, code=error.code) from error


def _convert_value(variable: Variable, value: Any, param: str) -> Any:
    if isinstance(value, str) and variable.type == "text":
        return value
    expected_type, value_type = _PART_TYPES[variable.type], "string" if isinstance(value, str) else value.type
    if value_type != expected_type:
        or_string = "a string or " if variable.type == "text" else ""
        raise errors.InvalidRequest(
            f"Invalid type for '{param}': expected {or_string}a part of type '{expected_type}',"
            f" but got '{value_type}'.",
            param=param,
            code="invalid_type",
        )
    return value.text if isinstance(value, InputText) else value


def _messages(template: Template) -> Iterator[tuple[str, Any]]:
    """Yield the location of each message's content, and the message."""
    if template.input is not None and not isinstance(template.input, str):
        for index, message in enumerate(template.input):
            yield f"template.input[{index}].content", message


def _texts(template: Template) -> Iterator[_Text]:
    if template.instructions is not None:
        yield _Text("template.instructions", None, template.instructions)
    if isinstance(template.input, str):
        yield _Text("template.input", "user", template.input)
    for location, message in _messages(template):
        if isinstance(message.content, str):
            yield _Text(location, message.role, message.content)
            continue
        for index, part in enumerate(message.content):
            if isinstance(part, InputText | OutputText):
                yield _Text(f"{location}[{index}].text", message.role, part.text)


def _expand_content(content: Any, expanded_texts: Mapping[str, Any], location: str) -> Any:
    if isinstance(content, str):
        content = expanded_texts[location]
        return content if isinstance(content, str) else [content]
    parts = []
    for index, part in enumerate(content):
        value = expanded_texts.get(f"{location}[{index}].text")
        if value is None:
            parts.append(part)
        else:
            parts.append(part.model_copy(update={"text": value}) if isinstance(value, str) else value)
    return parts


def _split_text(text: str, location: str) -> list[str | _Placeholder]:
    """Split a text into non-empty literal texts and placeholders, in order.

    Args:
        location: location of the text, for the error message.
    """
    pieces: list[str | _Placeholder] = []
    start = 0
    while (opening := text.find("{{", start)) >= 0:
        backslash_start = opening
        while backslash_start > start and text[backslash_start - 1] == "\\":
            backslash_start -= 1
        backslash_count = opening - backslash_start
        literal_text = text[start:backslash_start] + "\\" * (backslash_count // 2)
        if backslash_count % 2:
            pieces.append(literal_text + "{{")
            start = opening + 2
            continue
        if text.startswith("{", opening + 2):
            literal_text += "{"
            opening += 1
        name_match = _PLACEHOLDER_NAME.match(text, opening + 2)
        if name_match is None:
            raise errors.InvalidRequest(
                f"'{{{{' in '{location}' at character {opening} does not begin a placeholder such as '{{{{name}}}}';"
                r" for a literal '{{' write '\{{'.",
                param=location,
            )
        pieces += [literal_text, _Placeholder(name_match[1])] if literal_text else [_Placeholder(name_match[1])]
        start = name_match.end()
    return [*pieces, text[start:]] if start < len(text) else pieces


def _piece_length(piece: str | _Placeholder, variable_values: Values) -> int:
    text = variable_values[piece.name] if isinstance(piece, _Placeholder) else piece
    return len(text) if isinstance(text, str) else 0


def _fill_placeholders(pieces: list[str | _Placeholder], variable_values: Values) -> Any:
    """Return the expanded text, or the message part that replaces the entire text."""
    content = [variable_values[piece.name] if isinstance(piece, _Placeholder) else piece for piece in pieces]
    if len(content) == 1:
        return content[0]
    return "".join(content)
