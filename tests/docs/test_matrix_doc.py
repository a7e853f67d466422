"""The page on model servers contains the tables that the tests run."""

import ast
from pathlib import Path

from tests.matrix import page
from tests.matrix.features import FEATURES

TESTS = Path(__file__).resolve().parents[1]


def test_the_tables_are_current() -> None:
    text = page.PAGE.read_text()

    assert text == page.page(text), "run `python -m tests.matrix.page`"
    assert page.features() in text
    assert page.corpus() in text


def test_every_feature_of_the_packaged_model_has_its_test() -> None:
    tree = ast.parse((TESTS / "local/test_model_features.py").read_text())
    defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}

    assert {one.packaged for one in FEATURES if one.packaged} <= defined
