"""The tables on the page docs/model-servers.md are up to date, and the tests that they name exist."""

import ast
from pathlib import Path

from tests.matrix import page
from tests.matrix.features import FEATURES

TESTS = Path(__file__).resolve().parents[1]


def test_the_tables_of_features_and_misbehaving_servers_are_up_to_date() -> None:
    text = page.PAGE.read_text()

    assert text == page.page(text), "run `python -m tests.matrix.page`"
    assert page.feature_table() in text
    assert page.corpus_table() in text


def test_every_test_of_the_packaged_model_exists() -> None:
    tree = ast.parse((TESTS / "local/test_model_features.py").read_text())
    defined_names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}

    assert {feature.packaged_test for feature in FEATURES if feature.packaged_test} <= defined_names
