"""Generates docs/contract.md from the tables of the contract tests: `python -m tests.contract.page`."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.contract import ENDPOINTS, PARAMETERS, Parameter
from tests.contract.answers import TOLD
from tests.contract.endpoints import ASKED, EVERYWHERE, Refusal
from tests.contract.rows import SAMPLES

PAGE = Path(__file__).resolve().parents[2] / "docs/contract.md"
EVERY_WRONG = "test_a_wrong_value_is_refused_by_its_place_and_nothing_is_stored"
EVERY_GOOD = "test_every_good_value_is_taken_echoed_and_found_again"

TOP = """# The API, as it is tested

Every endpoint, header and parameter, with the test that proves the statement in brackets. The page is generated from
the tables in `tests/contract/` by `python -m tests.contract.page`, and a test fails if it is out of date.

Every error is `{"error": {"message", "type", "param", "code"}}`, and all four fields are always present. The type is
`invalid_request_error` unless stated otherwise; `param` names the place, such as `input[0].content[1].type`. A request
refused with 400, 403 or 413, or with 429 for a limit of the project, leaves no row. Types are not coerced: `"1"` is not
a number, and `1` is not a boolean; null is the same as omitting the parameter.
"""
MIDDLE = f"""
## Parameters of a create

`{EVERY_GOOD}` tests the accepted values, including all bounds and words, and
validates every answer with the published types of OpenAI and, where they exist, of Open Responses. Each refusal is a
case of `{EVERY_WRONG}`: its code, and its `param` if that is not the
parameter itself.
"""


def cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def row(*cells: str) -> str:
    return f"| {' | '.join(map(cell, cells))} |"


def table(*head: str, rows: Iterable[str]) -> Iterator[str]:
    yield row(*head)
    yield f"|{'|'.join('---' for _ in head)}|"
    yield from rows


def tests(*names: str) -> str:
    return ", ".join(f"`{name}`" for name in names)


def refusal(one: Refusal) -> str:
    code = f"{one.status} `{one.code}`" if one.code else f"{one.status}"
    return f"{code}: {one.when} [`{one.proof}`]"


def called(parameter: Parameter) -> str:
    return f"`{parameter.name}`" + (f", {parameter.about}" if parameter.about else "")


def refuses(parameter: Parameter) -> str:
    """The wrong values by code, and by place if that is not the whole parameter."""
    codes: dict[str, dict[str, list[str]]] = {}
    for wrong in parameter.wrong:
        place = "" if wrong.param in {None, parameter.name} else f"at `{wrong.param}` "
        what = "any other type" if wrong.what in SAMPLES else wrong.what
        found = codes.setdefault(wrong.code, {}).setdefault(place, [])
        if what not in found:
            found.append(what)
    said = {
        code: ", ".join(at + ", ".join(found) for at, found in sorted(places.items())) for code, places in codes.items()
    }
    return "<br>".join(f"`{code}`: {places}" for code, places in said.items()) or "nothing"


def page() -> str:
    """The page, generated from the tables."""
    lines = [TOP, "## Endpoints", ""]
    lines += table(
        "endpoint",
        "takes",
        "answers with",
        "errors",
        rows=(
            row(
                f"`{one.name}`",
                one.takes or "nothing",
                f"{one.answers} [`{one.proof}`]",
                "<br>".join(map(refusal, one.refusals)) or "see below",
            )
            for one in ENDPOINTS
        ),
    )
    lines += ["", f"Every endpoint: {'; '.join(map(refusal, EVERYWHERE))}.", "", "## Headers and query parameters", ""]
    lines += table(
        "name",
        "where",
        "takes",
        "effect",
        "test",
        rows=(row(f"`{one.name}`", one.where, one.takes or "-", one.effect, tests(one.proof)) for one in ASKED),
    )
    lines += ["", "## Headers of answers to creates", ""]
    lines += table(
        "name",
        "where",
        "value",
        "test",
        rows=(row(f"`{one.name}`", one.where, one.says, tests(one.proof)) for one in TOLD),
    )
    lines.append(MIDDLE)
    lines += table(
        "parameter",
        "takes",
        "effect",
        "refuses",
        "tests of the effect",
        rows=(row(called(one), one.takes, one.effect, refuses(one), tests(*one.proof)) for one in PARAMETERS),
    )
    return "\n".join(lines) + "\n"


def named() -> set[str]:
    """The names of all tests on the page."""
    endpoints = [proof for one in ENDPOINTS for proof in (one.proof, *(refused.proof for refused in one.refusals))]
    asked = [one.proof for one in (*ASKED, *EVERYWHERE, *TOLD)]
    return {EVERY_GOOD, EVERY_WRONG, *endpoints, *asked, *(proof for one in PARAMETERS for proof in one.proof)}


if __name__ == "__main__":
    PAGE.write_text(page())
