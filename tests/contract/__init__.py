"""The contract as tables: the accepted and refused values and the effect of every parameter, with their tests.

Tests are parametrized with these tables, and `python -m tests.contract.page` writes docs/contract.md from them.
"""

from collections.abc import Iterator

from tests.contract import endpoints, inputs, objects, projects, prompts, scalars, tools, unsupported
from tests.contract.rows import ECHOED_UNCHANGED as ECHOED_UNCHANGED
from tests.contract.rows import NOT_ECHOED as NOT_ECHOED
from tests.contract.rows import AcceptedValue, Parameter, WrongValue

# In the order of docs/contract.md.
PARAMETERS: tuple[Parameter, ...] = (
    *inputs.PARAMETERS,
    *prompts.PARAMETERS,
    *scalars.PARAMETERS,
    *objects.PARAMETERS,
    *tools.PARAMETERS,
    *unsupported.PARAMETERS,
)

ENDPOINTS = (*endpoints.ENDPOINTS, *prompts.ENDPOINTS, *projects.ENDPOINTS)


def wrong_values() -> Iterator[tuple[str, str, WrongValue]]:
    """Yield, for every wrong value, an ID for its test case, the name of its parameter, and the value."""
    for parameter in PARAMETERS:
        for value in parameter.wrong_values:
            yield f"{parameter.name}: {value.description}", parameter.name, value


def accepted_values() -> Iterator[tuple[str, str, AcceptedValue]]:
    """Yield, for every accepted value, an ID for its test case, the name of its parameter, and the value."""
    for parameter in PARAMETERS:
        for number, value in enumerate(parameter.accepted_values):
            yield f"{parameter.name} {parameter.part}-{number}", parameter.name, value
