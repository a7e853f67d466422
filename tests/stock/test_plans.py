"""Planner costs of all SQL statements in a PostgreSQL without statistics."""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.harness.stack import ROOT
from tests.harness.waiting import until
from tests.stock import filling, load
from tests.stock.all_features import FeatureUser
from tests.stock.deployment import StockStack
from tests.stock.plans import Plan, Recording, normalize_statement

DATABASE = "plans"
LOAD_S = 2
pytestmark = pytest.mark.stock
_STATEMENT = re.compile(r"\s*(select|insert into|update|delete from|with (recursive )?\w+ (\([\w, ]+\) )?as)\s")
# Placeholders are replaced when a statement is sent, so all executions share only the text before the first one.
_PLACEHOLDER = re.compile(r"%\(|%s|\{\w*\}|\$\d")


@dataclass(frozen=True)
class Statement:
    """A statement in a module.

    Args:
        location: file and line of the statement.
        prefix: normalized text of the statement before the first placeholder.
    """

    location: str
    prefix: str


def find_statements(folder: Path) -> Iterator[Statement]:
    """Yield the statements in the modules of a folder."""
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and _STATEMENT.match(node.value):
                prefix = normalize_statement(_PLACEHOLDER.split(node.value, maxsplit=1)[0])
                yield Statement(f"{path.relative_to(folder)}:{node.lineno}", prefix)


@pytest.fixture(scope="module")
def feature_plans(recorded_stack: StockStack, recording: Recording) -> Mapping[str, Plan]:
    """The plans of all statements that are sent while all features are used."""
    with FeatureUser(recorded_stack) as user:
        user.run()
    unsettled_query = "select 1 from usage_ledger where charged_tokens <> input_tokens + output_tokens limit 1"
    until(lambda: not recorded_stack.sql(unsettled_query), timeout_s=20)
    return recording.read_new_plans()


def test_no_statement_is_expensive_on_a_database_without_statistics(
    recorded_stack: StockStack, recording: Recording, feature_plans: Mapping[str, Plan]
) -> None:
    assert recording.find_expensive_statements(feature_plans) == []
    assert recorded_stack.count_analyses() == 0


def test_every_statement_in_the_source_is_recorded(feature_plans: Mapping[str, Plan]) -> None:
    missing_statements = [
        statement
        for statement in find_statements(ROOT / "core")
        if not any(statement.prefix in text for text in feature_plans)
    ]

    assert missing_statements == []


def test_no_hot_statement_is_expensive_on_a_large_database_without_statistics(
    recorded_stack: StockStack, recording: Recording
) -> None:
    filling.copy_ended_responses(
        recorded_stack.admin_url, filling.create_completed_responses(recorded_stack), filling.ENDED_COUNT
    )
    recording.read_new_plans()

    result = load.run(recorded_stack, LOAD_S)

    assert result.completed_count > 0
    assert recording.find_expensive_statements(recording.read_new_plans()) == []
