"""Planner costs of the product's statements in a PostgreSQL without statistics."""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.harness.stack import ROOT
from tests.harness.waiting import until
from tests.stock import filling, load
from tests.stock.deployment import StockStack
from tests.stock.journey import Journey
from tests.stock.plans import Plan, Recording, normalized

DATABASE = "plans"
LOAD_S = 2
pytestmark = pytest.mark.stock
_BEGINS = re.compile(r"\s*(select|insert into|update|delete from|with (recursive )?\w+ (\([\w, ]+\) )?as)\s")
# Parts inserted when the statement is sent: all forms of it share the text before the first one.
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


def statements(folder: Path) -> Iterator[Statement]:
    """The statements in the modules of a folder."""
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and _BEGINS.match(node.value):
                begins = normalized(_VARIABLE.split(node.value, maxsplit=1)[0])
                yield Statement(f"{path.relative_to(folder)}:{node.lineno}", begins)


@pytest.fixture(scope="module")
def journey(recorded_stack: StockStack, recording: Recording) -> Mapping[str, Plan]:
    """The plans of every statement of a journey through all features."""
    with Journey(recorded_stack) as journey:
        journey.run()
    unsettled = "select 1 from usage_ledger where charged_tokens <> input_tokens + output_tokens limit 1"
    until(lambda: not recorded_stack.sql(unsettled), within_s=20)
    return recording.take()


def test_no_statement_is_expensive_on_a_database_without_statistics(
    recorded_stack: StockStack, recording: Recording, journey: Mapping[str, Plan]
) -> None:
    assert recording.expensive(journey) == []
    assert recorded_stack.analyses() == 0


def test_every_statement_in_the_source_is_recorded(journey: Mapping[str, Plan]) -> None:
    sent = list(journey)

    assert [found for found in statements(ROOT / "core") if not any(found.begins in text for text in sent)] == []


def test_no_hot_statement_is_expensive_on_a_large_database_without_statistics(
    recorded_stack: StockStack, recording: Recording
) -> None:
    filling.copy_ended(recorded_stack.admin_url, filling.completed(recorded_stack), filling.STORED)
    recording.take()

    outcome = load.run(recorded_stack, LOAD_S)

    assert outcome.completed > 0
    assert recording.expensive(recording.take()) == []
