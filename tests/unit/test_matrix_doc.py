"""The page about model servers has the tables that the tests run."""

import ast
from pathlib import Path

from tests import matrix_doc
from tests.matrix import FEATURES

TESTS = Path(__file__).resolve().parents[1]


def test_the_tables_are_current() -> None:
    text = matrix_doc.PAGE.read_text()

    assert text == matrix_doc.page(text), "run `python -m tests.matrix_doc`"
    assert matrix_doc.features() in text
    assert matrix_doc.corpus() in text


def test_every_feature_of_the_packaged_model_has_its_test() -> None:
    tree = ast.parse((TESTS / "local/test_model_features.py").read_text())
    defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}

    assert {one.packaged for one in FEATURES if one.packaged} <= defined
