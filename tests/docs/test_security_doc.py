"""The page docs/security.md lists the right that each endpoint requires, and the tests that the page names exist."""

import ast
import re
from pathlib import Path

from app.endpoints.table import TABLE

REQUIRED_RIGHTS = {(row.method, row.rule): row.right for row in TABLE if row.right is not None}
TESTS = Path(__file__).resolve().parents[1]
PAGE_TEXT = (TESTS.parent / "docs/security.md").read_text()


def test_the_security_page_lists_every_endpoint_with_its_required_right() -> None:
    rows = re.findall(r"^\| `([A-Z]+) (/v1\S*)` \| `([\w-]+)` \|$", PAGE_TEXT, re.MULTILINE)

    assert rows == [
        (method, re.sub(r"<(?:path:)?(\w+)>", r"{\1}", rule), right)
        for (method, rule), right in REQUIRED_RIGHTS.items()
    ]


def test_every_test_on_the_security_page_exists() -> None:
    defined_names = {
        node.name
        for path in TESTS.rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }

    assert set(re.findall(r"`(test_\w+)`", PAGE_TEXT)) - defined_names == set()
