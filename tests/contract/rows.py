"""What the tables of the contract are made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# A response says nothing of this parameter.
UNSAID = object()
# A response says of this parameter what was sent.
SENT = object()


@dataclass(frozen=True)
class Wrong:
    """A value that is refused with 400 and leaves no row.

    Args:
        what: the value, in words for the page.
        param: where the error points, if not at the parameter as a whole.
        beside: what else the body says.
    """

    what: str
    value: Any
    code: str
    param: str | None = None
    beside: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Good:
    """A value that is taken, and what the response then says of the parameter."""

    value: Any
    echo: Any = SENT
    beside: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Parameter:
    """A parameter of a create.

    Args:
        about: the part of the parameter that this row is about, where one row would be too long.
        takes: the values it takes, in words.
        effect: what it does, in words.
        proof: the tests, beyond those of this table, that prove the effect.
    """

    name: str
    takes: str
    effect: str
    good: tuple[Good, ...] = ()
    wrong: tuple[Wrong, ...] = ()
    proof: tuple[str, ...] = ()
    about: str = ""


SAMPLES: dict[str, Any] = {
    "a string": "x",
    "an integer": 5,
    "a decimal": 0.5,
    "a boolean": True,
    "an array": [[]],
    "an object": {"x": 1},
}


def not_of(*kinds: str, param: str | None = None) -> tuple[Wrong, ...]:
    """A wrong value of every type of JSON that is not one of `kinds`."""
    return tuple(Wrong(kind, value, "invalid_type", param) for kind, value in SAMPLES.items() if kind not in kinds)


def refused(*values: tuple[str, Any]) -> tuple[Wrong, ...]:
    """Values of a parameter that is not served."""
    samples = (*values, *((kind, value) for kind, value in SAMPLES.items()))
    return tuple(Wrong(what, value, "unsupported_parameter") for what, value in samples)
