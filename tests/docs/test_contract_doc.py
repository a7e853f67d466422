"""The page docs/contract.md is up to date and complete, and the tests that the page names exist."""

import ast
import re
from pathlib import Path
from typing import get_args

import pytest

from core.wire.request import CreateResponse, Include
from tests import contract
from tests.contract import Parameter, page

TESTS = Path(__file__).resolve().parents[1]
# The parameters of a create request in the reference documentation of OpenAI's API.
REFERENCE_PARAMETERS = """
ai_project_id input model background include instructions max_output_tokens max_tool_calls metadata
parallel_tool_calls previous_response_id prompt reasoning service_tier store stream temperature text tool_choice tools
top_logprobs top_p truncation user prompt_cache_key
"""


def test_the_contract_page_is_up_to_date() -> None:
    assert page.PAGE.read_text() == page.page(), "run `python -m tests.contract.page`"


def test_every_test_on_the_contract_page_exists_exactly_once() -> None:
    defined_names = [
        node.name
        for path in TESTS.rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]

    assert [name for name in sorted(page.proof_names()) if defined_names.count(name) != 1] == []


@pytest.mark.parametrize("name", REFERENCE_PARAMETERS.split())
def test_the_contract_page_contains_every_parameter_of_the_reference(name: str) -> None:
    assert re.search(rf"^\| `([a-z_]+, )*{name}(, [\w-]+)*` \|", page.PAGE.read_text(), re.MULTILINE)


@pytest.mark.parametrize("parameter", contract.PARAMETERS, ids=page.parameter_label)
def test_every_parameter_has_a_test_of_its_effect_and_values_of_a_wrong_type(parameter: Parameter) -> None:
    assert parameter.proof
    if parameter.name in CreateResponse.model_fields:
        codes = {value.code for value in parameter.wrong_values}
        assert "invalid_type" in codes
        assert len({value.description for value in parameter.wrong_values}) == len(parameter.wrong_values)


def test_the_tables_contain_every_literal_of_the_schemas() -> None:
    accepted_values = {parameter.name: parameter.values for parameter in contract.PARAMETERS}
    annotations = {"include": Include, "service_tier": CreateResponse.model_fields["service_tier"].annotation}

    for name, annotation in annotations.items():
        # An optional parameter is a union whose first type with arguments is the literal.
        literal = next((part for part in get_args(annotation) if get_args(part)), annotation)
        assert [value for value in get_args(literal) if f"`{value}`" not in accepted_values[name]] == []
