"""The types of the rows of the contract, and helpers that build wrong values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# As `AcceptedValue.echo`: the parameter does not appear in the response.
NOT_ECHOED = object()
# As `AcceptedValue.echo`: the response contains the value of the request.
ECHOED_UNCHANGED = object()


@dataclass(frozen=True)
class WrongValue:
    """A value that is refused with 400 before anything is stored.

    Args:
        description: a description of the value for the page.
        code: the error's `code`.
        param: the error's `param`; None if it is the name of the parameter.
        other_fields: other parameters of the request.
    """

    description: str
    value: Any
    code: str
    param: str | None = None
    other_fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class AcceptedValue:
    """A value that is accepted.

    Args:
        echo: the value in the response, or `ECHOED_UNCHANGED` or `NOT_ECHOED`.
        other_fields: other parameters of the request.
    """

    value: Any
    echo: Any = ECHOED_UNCHANGED
    other_fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Parameter:
    """A parameter of a create request, as one row of the page.

    Args:
        values: a description of the accepted values.
        effect: a description of the effect.
        proof: the names of the tests of the effect.
        part: the part of the parameter that this row describes; empty if the parameter has only one row.
    """

    name: str
    values: str
    effect: str
    accepted_values: tuple[AcceptedValue, ...] = ()
    wrong_values: tuple[WrongValue, ...] = ()
    proof: tuple[str, ...] = ()
    part: str = ""


# A value of every JSON type except null, by the name of the type.
SAMPLES: dict[str, Any] = {
    "a string": "x",
    "an integer": 5,
    "a decimal": 0.5,
    "a boolean": True,
    "an array": [[]],
    "an object": {"x": 1},
}


def types_except(*types: str, param: str | None = None) -> tuple[WrongValue, ...]:
    """Return a wrong value of every JSON type except these types and null."""
    return tuple(WrongValue(name, value, "invalid_type", param) for name, value in SAMPLES.items() if name not in types)


def unsupported_values(*values: tuple[str, Any]) -> tuple[WrongValue, ...]:
    """Return these values, and a value of every JSON type, as wrong values of a parameter that is not supported.

    Args:
        values: descriptions and values.
    """
    samples = (*values, *SAMPLES.items())
    return tuple(WrongValue(description, value, "unsupported_parameter") for description, value in samples)
