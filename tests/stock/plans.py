"""Reads the plans that PostgreSQL's `auto_explain` logs: statements with their estimated costs."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.stock.servers import Postgres

# Costs do not depend on `jit`. With `jit` off, even a statement of excessive cost completes, and PostgreSQL logs only
# completed statements.
SETTINGS = {
    "jit": "off",
    "session_preload_libraries": "auto_explain",
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_nested_statements": "on",
    "auto_explain.log_format": "json",
}
# PostgreSQL indents the continuation lines of a message with a tab.
_ENTRY = re.compile(r"^.* \[\d+\] \S+@(\S+) LOG:  duration: ([\d.]+) ms  plan:\n((?:\t.*\n)+)", re.MULTILINE)
_LITERAL = re.compile(r"'(?:[^']|'')*'|\b\d+(?:\.\d+)?\b")


@dataclass(frozen=True)
class Plan:
    """The plan of one execution of a statement.

    Args:
        statement: text of the statement on one line, without literals.
        cost: estimated total cost of the plan, in the planner's units.
        duration_ms: execution time, without planning.
    """

    statement: str
    cost: float
    duration_ms: float


class Recording:
    """The plans of the statements that the deployment's role sends to one database.

    Only new sessions of this role load `auto_explain`; all other sessions keep the default settings.

    Args:
        log_path: path of PostgreSQL's log.
    """

    def __init__(self, postgres: Postgres, database: str, log_path: Path) -> None:
        postgres.set_role_variables(database, SETTINGS)
        self._cost_limit = float(postgres.read_setting("jit_above_cost"))
        self._database = database
        self._log_path = log_path
        self._log_offset = 0

    def read_new_plans(self) -> dict[str, Plan]:
        """Return the statements logged since the last call with their costliest plans, in descending order of cost."""
        with self._log_path.open() as log:
            log.seek(self._log_offset)
            text = log.read()
            self._log_offset = log.tell()
        plans: dict[str, Plan] = {}
        for plan in _parse_plans(text, self._database):
            if plan.statement not in plans or plan.cost > plans[plan.statement].cost:
                plans[plan.statement] = plan
        sorted_plans = sorted(plans.values(), key=lambda plan: plan.cost, reverse=True)
        return {plan.statement: plan for plan in sorted_plans}

    def find_expensive_statements(self, plans: Mapping[str, Plan]) -> list[str]:
        """Return the costs and texts of the statements that PostgreSQL would compile with JIT by default."""
        return [f"{plan.cost:.0f}: {text:.200}" for text, plan in plans.items() if plan.cost >= self._cost_limit]


def _parse_plans(log: str, database: str) -> Iterator[Plan]:
    for entry_database, duration, text in _ENTRY.findall(log):
        if entry_database == database:
            entry = json.loads(text)
            yield Plan(
                statement=normalize_statement(entry["Query Text"]),
                cost=entry["Plan"]["Total Cost"],
                duration_ms=float(duration),
            )


def normalize_statement(statement: str) -> str:
    """Return the statement on one line with its literals replaced, so that all its executions have the same text."""
    return " ".join(_LITERAL.sub("?", statement).split())
