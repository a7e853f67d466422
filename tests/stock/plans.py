"""Plans logged by PostgreSQL's `auto_explain`: statements with their estimated costs."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.stock.servers import Postgres

# Costs do not depend on `jit`. With `jit` off, even a statement that costs too much completes, and only completed
# statements are logged.
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
    """One execution of one statement.

    Args:
        statement: its text on one line, without literals.
        cost: estimated total cost of the whole plan, in the planner's units.
        duration_ms: execution time, without planning.
    """

    statement: str
    cost: float
    duration_ms: float


class Recording:
    """The plans of the statements that the deployment's role sends to one database.

    Only sessions of this role that begin afterwards load `auto_explain`; other roles and databases keep the defaults.

    Args:
        log: PostgreSQL's log.
    """

    def __init__(self, postgres: Postgres, database: str, log: Path) -> None:
        postgres.set_for_role(database, SETTINGS)
        self._limit = float(postgres.setting("jit_above_cost"))
        self._database = database
        self._log = log
        self._read = 0

    def take(self) -> dict[str, Plan]:
        """The statements since the last call, each with its costliest plan, in descending order of cost."""
        with self._log.open() as log:
            log.seek(self._read)
            text = log.read()
            self._read = log.tell()
        found: dict[str, Plan] = {}
        for plan in _parse(text, self._database):
            if plan.statement not in found or plan.cost > found[plan.statement].cost:
                found[plan.statement] = plan
        return dict(sorted(found.items(), key=lambda item: -item[1].cost))

    def expensive(self, plans: Mapping[str, Plan]) -> list[str]:
        """Costs and texts of the statements that PostgreSQL would JIT-compile for longer than a statement may run."""
        return [f"{plan.cost:.0f}: {text:.200}" for text, plan in plans.items() if plan.cost >= self._limit]


def _parse(log: str, database: str) -> Iterator[Plan]:
    for logged_for, duration, text in _ENTRY.findall(log):
        if logged_for == database:
            found = json.loads(text)
            yield Plan(
                statement=normalized(found["Query Text"]),
                cost=found["Plan"]["Total Cost"],
                duration_ms=float(duration),
            )


def normalized(statement: str) -> str:
    """The statement on one line with its literals replaced, so that all its executions have the same text."""
    return " ".join(_LITERAL.sub("?", statement).split())
