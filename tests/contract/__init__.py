"""The contract as tables: the accepted values, refusals and effect of every parameter, and the tests that prove them.

Tests are parametrized with these tables, and `python -m tests.contract.page` writes docs/contract.md from them.
"""

from collections.abc import Iterator

from tests.contract import endpoints, inputs, plain, projects, prompts, refusals, shapes, tools
from tests.contract.rows import SENT as SENT
from tests.contract.rows import UNSAID as UNSAID
from tests.contract.rows import Good, Parameter, Wrong

# In the order of the page.
PARAMETERS: tuple[Parameter, ...] = (
    *inputs.PARAMETERS,
    *prompts.PARAMETERS,
    *plain.PARAMETERS,
    *shapes.PARAMETERS,
    *tools.PARAMETERS,
    *refusals.PARAMETERS,
)

ENDPOINTS = (*endpoints.ENDPOINTS, *prompts.ENDPOINTS, *projects.ENDPOINTS)


def wrong() -> Iterator[tuple[str, str, Wrong]]:
    """Yield for every wrong value: an ID for its test, the name of its parameter, the value."""
    for parameter in PARAMETERS:
        for value in parameter.wrong_values:
            yield f"{parameter.name}: {value.description}", parameter.name, value


def good() -> Iterator[tuple[str, str, Good]]:
    """Yield for every accepted value: an ID for its test, the name of its parameter, the value."""
    for parameter in PARAMETERS:
        for number, value in enumerate(parameter.accepted_values):
            yield f"{parameter.name} {parameter.part}-{number}", parameter.name, value
