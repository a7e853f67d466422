"""The contract as tables: what every parameter takes, what it refuses and with which words, and which test proves it.

Tests are parametrised by these tables, and `python -m tests.contract.page` writes docs/contract.md from them.
"""

from collections.abc import Iterator

from tests.contract import endpoints, inputs, plain, projects, prompts, refusals, shapes, tools
from tests.contract.rows import SENT, UNSAID, Good, Parameter, Wrong

__all__ = ["ENDPOINTS", "PARAMETERS", "SENT", "UNSAID", "Good", "Parameter", "Wrong", "good", "wrong"]

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
    """Every wrong value with its parameter and an ID for the test."""
    for parameter in PARAMETERS:
        for one in parameter.wrong:
            yield f"{parameter.name}: {one.what}", parameter.name, one


def good() -> Iterator[tuple[str, str, Good]]:
    """Every good value with its parameter and an ID for the test."""
    for parameter in PARAMETERS:
        for number, one in enumerate(parameter.good):
            yield f"{parameter.name} {parameter.about}-{number}", parameter.name, one
