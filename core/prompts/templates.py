"""Prompt templates: parsing placeholders and inserting values. Pure functions.

`{{name}}` is a placeholder, and `{{{name}}` is a literal brace followed by a placeholder. A backslash before `{{` makes
these two braces literal; two backslashes there are one literal backslash. Inserted values are never parsed, so nothing
expands twice.
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
_PARTS = {"text": "input_text", "image": "input_image", "file": "input_file"}
_NAME = re.compile(rf"[ \t\r\n]*({VARIABLE_NAME})[ \t\r\n]*\}}\}}")

Values = Mapping[str, Any]  # strings or message parts, by variable name


@dataclass(frozen=True)
class _Placeholder:
    name: str


@dataclass(frozen=True)
class _Text:
    """A text of a template, not expanded.

    Args:
        place: location in the request.
        role: role of the message that contains the text; None for the instructions.
    """

    place: str
    role: str | None
    text: str


def check(template: Template) -> None:
    """Check that a template can be used.

    Raises:
        errors.InvalidRequest: it cannot be used; the error names the location, beginning with `template`.
    """
    if template.instructions is None and template.input is None:
        raise errors.InvalidRequest(
            "A template needs 'instructions' or 'input'.", param="template", code="missing_required_parameter"
        )
    for name, variable in template.variables.items():
        if variable.default is not None:
            _checked_value(variable, variable.default, f"template.variables.{name}.default")
    used: Counter[str] = Counter()
    for text in _texts(template):
        pieces = _pieces(text.text, text.place)
        for piece in pieces:
            if isinstance(piece, _Placeholder):
                used[piece.name] += 1
                _check_placeholder(template, text, piece.name, alone=len(pieces) == 1 and used[piece.name] == 1)
    if used.total() > PLACEHOLDERS_LIMIT:
        raise errors.InvalidRequest(
            f"The template has {used.total()} placeholders; at most {PLACEHOLDERS_LIMIT} are allowed.", param="template"
        )
    for name in template.variables:
        if name not in used:
            raise errors.InvalidRequest(
                f"The variable '{name}' is not used: no text contains the placeholder '{{{{{name}}}}}'.",
                param=f"template.variables.{name}",
            )
    with naming():
        rules.check_parameters(as_request(template))


def values(template: Template, given: Values) -> Values:
    """The value of each variable of the template: the given value or its default.

    Raises:
        errors.InvalidRequest: a variable is missing, unknown or of the wrong type; the error names it.
    """
    for name in given:
        if name not in template.variables:
            param = f"prompt.variables.{name}"
            raise errors.InvalidRequest(f"The prompt has no variable '{name}'.", param=param, code="unknown_parameter")
    found = {}
    for name, variable in template.variables.items():
        param = f"prompt.variables.{name}"
        value = given.get(name, variable.default)
        if value is None:
            raise errors.InvalidRequest(
                f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter"
            )
        found[name] = _checked_value(variable, value, param)
    return found


def expand(template: Template, found: Values) -> tuple[str | None, list[Message]]:
    """The instructions and the messages of a template, with values in place of its placeholders.

    Args:
        found: the result of `values`.

    Raises:
        errors.InvalidRequest: all texts together would exceed the limit of one text. This is checked before any text is
            expanded.
    """
    pieces = {text.place: _pieces(text.text, text.place) for text in _texts(template)}
    size = sum(_size(piece, found) for text in pieces.values() for piece in text)
    if size > TEXT_LIMIT:
        raise errors.InvalidRequest(
            f"Invalid 'prompt.variables': the prompt would have {size} characters; at most {TEXT_LIMIT} are allowed.",
            param="prompt.variables",
            code="string_above_max_length",
        )
    filled = {place: _filled(text, found) for place, text in pieces.items()}
    if isinstance(template.input, str):
        content = filled["template.input"]
        messages = [Message(role="user", content=content if isinstance(content, str) else [content])]
    else:
        messages = [
            Message(role=message.role, content=_content(message.content, filled, place), phase=message.phase)
            for place, message in _messages(template)
        ]
    return filled.get("template.instructions"), messages


def _check_placeholder(template: Template, text: _Text, name: str, *, alone: bool) -> None:
    variable = template.variables.get(name)
    if variable is None:
        raise errors.InvalidRequest(
            f"'{{{{{name}}}}}' in '{text.place}' is not a variable of the template.", param=text.place
        )
    if variable.type != "text" and (text.role != "user" or not alone):
        raise errors.InvalidRequest(
            f"'{{{{{name}}}}}' stands for a part of type '{_PARTS[variable.type]}': a template may contain it once,"
            " as the entire text of a user message or of one of its parts.",
            param=text.place,
        )


def as_request(template: Template) -> CreateResponse:
    """A create with the parameters and messages of a template, for checks; placeholders are not expanded."""
    defaults = {name: value for name in DEFAULTS if (value := getattr(template, name)) is not None}
    messages = [Message(role=message.role, content=message.content) for _, message in _messages(template)]
    return CreateResponse(input="").model_copy(update={"model": "", "input": messages or "", **defaults})


@contextmanager
def naming() -> Iterator[None]:
    """Make errors of a request from `as_request` name the location in the template."""
    try:
        yield
    except errors.InvalidRequest as error:
        param = f"template.{error.param}" if error.param else "template"
        raise errors.InvalidRequest(str(error), param=param, code=error.code) from error


def _checked_value(variable: Variable, value: Any, param: str) -> Any:
    if isinstance(value, str) and variable.type == "text":
        return value
    wanted, got = _PARTS[variable.type], "string" if isinstance(value, str) else value.type
    if got != wanted:
        or_text = "a string or " if variable.type == "text" else ""
        raise errors.InvalidRequest(
            f"Invalid type for '{param}': expected {or_text}a part of type '{wanted}', but got '{got}'.",
            param=param,
            code="invalid_type",
        )
    return value.text if isinstance(value, InputText) else value


def _messages(template: Template) -> Iterator[tuple[str, Any]]:
    if template.input is not None and not isinstance(template.input, str):
        for number, message in enumerate(template.input):
            yield f"template.input[{number}].content", message


def _texts(template: Template) -> Iterator[_Text]:
    if template.instructions is not None:
        yield _Text("template.instructions", None, template.instructions)
    if isinstance(template.input, str):
        yield _Text("template.input", "user", template.input)
    for place, message in _messages(template):
        if isinstance(message.content, str):
            yield _Text(place, message.role, message.content)
            continue
        for number, part in enumerate(message.content):
            if isinstance(part, InputText | OutputText):
                yield _Text(f"{place}[{number}].text", message.role, part.text)


def _content(content: Any, filled: Mapping[str, Any], place: str) -> Any:
    if isinstance(content, str):
        content = filled[place]
        return content if isinstance(content, str) else [content]
    parts = []
    for number, part in enumerate(content):
        value = filled.get(f"{place}[{number}].text")
        if value is None:
            parts.append(part)
        else:
            parts.append(part.model_copy(update={"text": value}) if isinstance(value, str) else value)
    return parts


def _pieces(text: str, place: str) -> list[str | _Placeholder]:
    """The literal texts and the placeholders of a text, in order; no literal text is empty."""
    pieces: list[str | _Placeholder] = []
    done = 0
    while (opening := text.find("{{", done)) >= 0:
        backslashes = opening
        while backslashes > done and text[backslashes - 1] == "\\":
            backslashes -= 1
        before = text[done:backslashes] + "\\" * ((opening - backslashes) // 2)
        if (opening - backslashes) % 2:
            pieces.append(before + "{{")
            done = opening + 2
            continue
        if text.startswith("{", opening + 2):
            before += "{"
            opening += 1
        name = _NAME.match(text, opening + 2)
        if name is None:
            raise errors.InvalidRequest(
                f"'{{{{' in '{place}' at character {opening} does not begin a placeholder such as '{{{{name}}}}';"
                r" for a literal '{{' write '\{{'.",
                param=place,
            )
        pieces += [before, _Placeholder(name[1])] if before else [_Placeholder(name[1])]
        done = name.end()
    return [*pieces, text[done:]] if done < len(text) else pieces


def _size(piece: str | _Placeholder, found: Values) -> int:
    text = found[piece.name] if isinstance(piece, _Placeholder) else piece
    return len(text) if isinstance(text, str) else 0


def _filled(pieces: list[str | _Placeholder], found: Values) -> Any:
    """The expanded text, or the message part that replaces all of it."""
    content = [found[piece.name] if isinstance(piece, _Placeholder) else piece for piece in pieces]
    if len(content) == 1:
        return content[0]
    return "".join(content)
