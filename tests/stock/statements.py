"""The SQL statements in the product's source, to see which of them a recording of PostgreSQL has."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.stock.plans import normalized

_BEGINS = re.compile(r"\s*(select|insert into|update|delete from|with (recursive )?\w+ (\([\w, ]+\) )?as)\s")
# What is put in when the statement is sent: the text before the first of these is what all of its forms share.
_VARIABLE = re.compile(r"%\(|%s|\{\w*\}|\$\d")


@dataclass(frozen=True)
class Statement:
    """A statement in a module.

    Args:
        place: its file and line.
        begins: its normalized text up to the first parameter or inserted part.
    """

    place: str
    begins: str


def of(folder: Path) -> Iterator[Statement]:
    """The statements in the modules of a folder."""
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and _BEGINS.match(node.value):
                begins = normalized(_VARIABLE.split(node.value, maxsplit=1)[0])
                yield Statement(f"{path.relative_to(folder)}:{node.lineno}", begins)
