"""Generates docs/contract.md from the tables of the contract tests: `python -m tests.contract.page`."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.contract import ENDPOINTS, PARAMETERS, Parameter
from tests.contract.answers import RESPONSE_HEADERS
from tests.contract.endpoints import EVERYWHERE, REQUEST_OPTIONS, Refusal
from tests.contract.rows import SAMPLES

PAGE = Path(__file__).resolve().parents[2] / "docs/contract.md"
WRONG_VALUES_TEST = "test_an_invalid_value_is_rejected_with_its_location_and_nothing_is_stored"
ACCEPTED_VALUES_TEST = "test_every_valid_value_is_accepted_and_returned"

INTRODUCTION = """# The tested contract of the API

Every endpoint, header and parameter, each with the name of the test that proves it. `python -m tests.contract.page`
generates this page from the tables in `tests/contract/`, and a test fails if the page is out of date.

Every error is `{"error": {"message", "type", "param", "code"}}`, and all four fields are always present. The type is
`invalid_request_error` unless stated otherwise; `param` names the place, such as `input[0].content[1].type`. A request
refused with 400, 403 or 413, or with 429 for a limit of the project, is not stored. Types are not converted: `"1"` is
not a number, and `1` is not a boolean; null is the same as omitting the parameter.
"""
PARAMETERS_INTRODUCTION = f"""
## Parameters of create requests

`{ACCEPTED_VALUES_TEST}` tests the accepted values, including all limits and names,
and validates every response with the published types of OpenAI and, where they exist, of Open Responses. Each refused
value is a case of `{WRONG_VALUES_TEST}`; it is listed by the error's code,
and by the error's `param` if that is not the parameter itself.
"""


def escape_cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def row(*cells: str) -> str:
    return f"| {' | '.join(map(escape_cell, cells))} |"


def table(*headers: str, rows: Iterable[str]) -> Iterator[str]:
    """The lines of a table."""
    yield row(*headers)
    yield f"|{'|'.join('---' for _ in headers)}|"
    yield from rows


def code_list(*names: str) -> str:
    return ", ".join(f"`{name}`" for name in names)


def describe_refusal(refusal: Refusal) -> str:
    """A refusal as part of a table cell: status, code, condition and test."""
    code = f"{refusal.status} `{refusal.code}`" if refusal.code else f"{refusal.status}"
    return f"{code}: {refusal.condition} [`{refusal.proof}`]"


def parameter_label(parameter: Parameter) -> str:
    """The name of a parameter, and the part that its row describes."""
    return f"`{parameter.name}`" + (f", {parameter.part}" if parameter.part else "")


def describe_wrong_values(parameter: Parameter) -> str:
    """The wrong values of a parameter, grouped by error code and by the place that the error names."""
    codes: dict[str, dict[str, list[str]]] = {}
    for value in parameter.wrong_values:
        place = "" if value.param in {None, parameter.name} else f"at `{value.param}` "
        description = "any other type" if value.description in SAMPLES else value.description
        descriptions = codes.setdefault(value.code, {}).setdefault(place, [])
        if description not in descriptions:
            descriptions.append(description)
    texts = {
        code: ", ".join(place + ", ".join(descriptions) for place, descriptions in sorted(places.items()))
        for code, places in codes.items()
    }
    return "<br>".join(f"`{code}`: {text}" for code, text in texts.items()) or "nothing"


def page() -> str:
    """The content of docs/contract.md."""
    lines = [INTRODUCTION, "## Endpoints", ""]
    lines += table(
        "endpoint",
        "takes",
        "reply",
        "errors",
        rows=(
            row(
                f"`{endpoint.name}`",
                endpoint.request or "nothing",
                f"{endpoint.reply} [`{endpoint.proof}`]",
                "<br>".join(map(describe_refusal, endpoint.refusals)) or "see below",
            )
            for endpoint in ENDPOINTS
        ),
    )
    lines += [
        "",
        f"Every endpoint: {'; '.join(map(describe_refusal, EVERYWHERE))}.",
        "",
        "## Headers and query parameters",
        "",
    ]
    lines += table(
        "name",
        "where",
        "takes",
        "effect",
        "test",
        rows=(
            row(f"`{option.name}`", option.location, option.values or "-", option.effect, code_list(option.proof))
            for option in REQUEST_OPTIONS
        ),
    )
    lines += ["", "## Headers of replies to create requests", ""]
    lines += table(
        "name",
        "where",
        "value",
        "test",
        rows=(
            row(f"`{header.name}`", header.occurrence, header.value, code_list(header.proof))
            for header in RESPONSE_HEADERS
        ),
    )
    lines.append(PARAMETERS_INTRODUCTION)
    lines += table(
        "parameter",
        "takes",
        "effect",
        "refuses",
        "tests of the effect",
        rows=(
            row(
                parameter_label(parameter),
                parameter.values,
                parameter.effect,
                describe_wrong_values(parameter),
                code_list(*parameter.proof),
            )
            for parameter in PARAMETERS
        ),
    )
    return "\n".join(lines) + "\n"


def proof_names() -> set[str]:
    """The names of all tests on the page."""
    refusals = [*EVERYWHERE, *(refusal for endpoint in ENDPOINTS for refusal in endpoint.refusals)]
    entries = (*ENDPOINTS, *refusals, *REQUEST_OPTIONS, *RESPONSE_HEADERS)
    effects = (proof for parameter in PARAMETERS for proof in parameter.proof)
    return {ACCEPTED_VALUES_TEST, WRONG_VALUES_TEST, *(entry.proof for entry in entries), *effects}


if __name__ == "__main__":
    PAGE.write_text(page())
