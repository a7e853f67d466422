"""Every guarantee on the page docs/guarantees.md is proved by existing tests."""

import ast
import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
PAGE = TESTS.parent / "docs" / "guarantees.md"


def test_every_test_that_proves_a_guarantee_exists_once() -> None:
    named_tests = set(re.findall(r"`(test_\w+)`", PAGE.read_text()))
    defined = [
        node.name
        for path in TESTS.rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]

    assert len(named_tests) > 20
    assert [name for name in sorted(named_tests) if defined.count(name) != 1] == []


def test_every_guarantee_names_a_test() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")][1:]

    assert rows
    assert [row for row in rows if "`test_" not in row.rsplit("| ", 1)[1]] == []
