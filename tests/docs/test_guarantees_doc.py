"""The page docs/guarantees.md names a test for every guarantee, and the named tests exist."""

import ast
import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
PAGE = TESTS.parent / "docs" / "guarantees.md"


def test_every_test_on_the_page_is_defined_exactly_once() -> None:
    names_on_page = set(re.findall(r"`(test_\w+)`", PAGE.read_text()))
    defined_names = [
        node.name
        for path in TESTS.rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]

    assert len(names_on_page) > 20
    assert [name for name in sorted(names_on_page) if defined_names.count(name) != 1] == []


def test_every_guarantee_names_a_test() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")][1:]

    assert rows
    assert [row for row in rows if "`test_" not in row.rsplit("| ", 1)[1]] == []
