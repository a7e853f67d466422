"""The contract page agrees with the tables and names existing tests."""

import ast
import re
from pathlib import Path
from typing import get_args

import pytest

from core.wire.request import CreateResponse, Include
from tests import contract
from tests.contract import Parameter, page

TESTS = Path(__file__).resolve().parents[1]
# The parameters of a create in the reference documentation of the original API.
SEED = """
ai_project_id input model background include instructions max_output_tokens max_tool_calls metadata
parallel_tool_calls previous_response_id prompt reasoning service_tier store stream temperature text tool_choice tools
top_logprobs top_p truncation user prompt_cache_key
"""


def test_the_page_is_current() -> None:
    assert page.PAGE.read_text() == page.page(), "run `python -m tests.contract.page`"


def test_every_test_that_the_page_names_exists_once() -> None:
    defined = [
        node.name
        for path in TESTS.rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]

    assert [name for name in sorted(page.named()) if defined.count(name) != 1] == []


@pytest.mark.parametrize("name", SEED.split())
def test_the_page_has_every_parameter_of_the_reference(name: str) -> None:
    assert re.search(rf"^\| `([a-z_]+, )*{name}(, [\w-]+)*` \|", page.PAGE.read_text(), re.MULTILINE)


@pytest.mark.parametrize("parameter", contract.PARAMETERS, ids=page.called)
def test_every_parameter_has_a_test_of_its_effect_and_wrong_values_of_every_kind(parameter: Parameter) -> None:
    assert parameter.proof
    if parameter.name in CreateResponse.model_fields:
        codes = {wrong.code for wrong in parameter.wrong}
        assert "invalid_type" in codes
        assert len({wrong.what for wrong in parameter.wrong}) == len(parameter.wrong)


def test_the_tables_have_every_word_that_the_schemas_have() -> None:
    takes = {parameter.name: parameter.takes for parameter in contract.PARAMETERS}
    words = {"include": Include, "service_tier": CreateResponse.model_fields["service_tier"].annotation}

    for name, annotation in words.items():
        literal = next((part for part in get_args(annotation) if get_args(part)), annotation)
        assert [word for word in get_args(literal) if f"`{word}`" not in takes[name]] == []
