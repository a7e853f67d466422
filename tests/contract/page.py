"""Generates docs/contract.md from the tables in tests/contract: `python -m tests.contract.page`."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.contract import ENDPOINTS, PARAMETERS, Parameter
from tests.contract.endpoints import COMMON_REFUSALS, Refusal
from tests.contract.reply_headers import RESPONSE_HEADERS
from tests.contract.request_options import REQUEST_OPTIONS
from tests.contract.rows import SAMPLES

PAGE = Path(__file__).resolve().parents[2] / "docs/contract.md"
WRONG_VALUES_TEST = "test_an_invalid_value_is_rejected_with_its_location_and_nothing_is_stored"
ACCEPTED_VALUES_TEST = "test_every_valid_value_is_accepted_and_returned"

INTRODUCTION = """# The tested contract of the API

Look up an endpoint, a header or a parameter here; each entry names the test that proves it. To change the page, change
the tables in `tests/contract/` and run `python -m tests.contract.page`; a test fails if the page is out of date.

Every error is `{"error": {"message", "type", "param", "code"}}`, and all four fields are always present. The type is
`invalid_request_error` unless stated otherwise. `param` is the location of the error, such as
`input[0].content[1].type`. If a request is refused with 400, 403 or 413, or with 429 because of a limit of the project,
nothing is stored; the errors of responses that failed in the foreground are the exception. Types are not converted:
`"1"` is not a number, and `1` is not a boolean. A null value has the same effect as omitting the parameter.
"""
PARAMETERS_INTRODUCTION = f"""
## Parameters of create requests

`{ACCEPTED_VALUES_TEST}` tests the accepted values, including the smallest and largest
values and all enumerated names. It validates every response against the types that OpenAI publishes and, if there are
any, the types of Open Responses. Each refused value is a case of
`{WRONG_VALUES_TEST}`. The table groups refused values by the
`code` of the error, and states the `param` of the error if it is not the parameter itself. *Echoed* parameters are
returned in the response object. *Sent* parameters are sent to model servers, here with Chat Completions;
[model-servers.md](model-servers.md) lists what is sent with both APIs.
"""


def escape_cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def table_row(*cells: str) -> str:
    return f"| {' | '.join(map(escape_cell, cells))} |"


def table_lines(*headers: str, rows: Iterable[str]) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    yield table_row(*headers)
    yield f"|{'|'.join('---' for _ in headers)}|"
    yield from rows


def format_names(*names: str) -> str:
    return ", ".join(f"`{name}`" for name in names)


def describe_refusal(refusal: Refusal) -> str:
    """Describe a refusal in a table cell: status, code, condition and test."""
    code = f"{refusal.status} `{refusal.code}`" if refusal.code else f"{refusal.status}"
    return f"{code}: {refusal.condition} [`{refusal.proof}`]"


def parameter_label(parameter: Parameter) -> str:
    """Return the name of a parameter and the part that its row describes."""
    return f"`{parameter.name}`" + (f", {parameter.part}" if parameter.part else "")


def describe_wrong_values(parameter: Parameter) -> str:
    """Describe the wrong values of a parameter, grouped by the `code` and the `param` of the error."""
    groups: dict[str, dict[str, list[str]]] = {}
    for value in parameter.wrong_values:
        location = "" if value.param in {None, parameter.name} else f"at `{value.param}` "
        description = "any other type" if value.description in SAMPLES else value.description
        descriptions = groups.setdefault(value.code, {}).setdefault(location, [])
        if description not in descriptions:
            descriptions.append(description)
    texts = {
        code: ", ".join(location + ", ".join(descriptions) for location, descriptions in sorted(locations.items()))
        for code, locations in groups.items()
    }
    return "<br>".join(f"`{code}`: {text}" for code, text in texts.items()) or "nothing"


def page() -> str:
    """Return the content of docs/contract.md."""
    lines = [INTRODUCTION, "## Endpoints", ""]
    lines += table_lines(
        "endpoint",
        "request",
        "reply",
        "errors",
        rows=(
            table_row(
                f"`{endpoint.name}`",
                endpoint.request or "nothing",
                f"{endpoint.reply} [`{endpoint.proof}`]",
                "<br>".join(map(describe_refusal, endpoint.refusals)) or "only those of every endpoint",
            )
            for endpoint in ENDPOINTS
        ),
    )
    lines += [
        "",
        f"Errors of every endpoint: {'; '.join(map(describe_refusal, COMMON_REFUSALS))}.",
        "",
        "## Headers and query parameters",
        "",
    ]
    lines += table_lines(
        "name",
        "location",
        "accepted values",
        "effect",
        "test",
        rows=(
            table_row(
                f"`{option.name}`", option.location, option.values or "-", option.effect, format_names(option.proof)
            )
            for option in REQUEST_OPTIONS
        ),
    )
    lines += ["", "## Headers of replies to create requests", ""]
    lines += table_lines(
        "name",
        "replies with the header",
        "value",
        "test",
        rows=(
            table_row(f"`{header.name}`", header.occurrence, header.value, format_names(header.proof))
            for header in RESPONSE_HEADERS
        ),
    )
    lines.append(PARAMETERS_INTRODUCTION)
    lines += table_lines(
        "parameter",
        "accepted values",
        "effect",
        "refused values",
        "tests of the effect",
        rows=(
            table_row(
                parameter_label(parameter),
                parameter.values,
                parameter.effect,
                describe_wrong_values(parameter),
                format_names(*parameter.proof),
            )
            for parameter in PARAMETERS
        ),
    )
    return "\n".join(lines) + "\n"


def proof_names() -> set[str]:
    """Return the names of all tests on the page."""
    refusals = [*COMMON_REFUSALS, *(refusal for endpoint in ENDPOINTS for refusal in endpoint.refusals)]
    entries = (*ENDPOINTS, *refusals, *REQUEST_OPTIONS, *RESPONSE_HEADERS)
    effects = (proof for parameter in PARAMETERS for proof in parameter.proof)
    return {ACCEPTED_VALUES_TEST, WRONG_VALUES_TEST, *(entry.proof for entry in entries), *effects}


if __name__ == "__main__":
    PAGE.write_text(page())
