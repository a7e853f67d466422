"""Rows about SQL in string literals: the number of statements that create, claim or end, and literal statuses."""

import ast
import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from checks.measure import Measure, Place, count_places
from checks.tree import Source, Tree

STATUSES = ("queued", "in_progress", "completed", "incomplete", "failed", "cancelled")

_STATUS = re.compile("'(?:" + "|".join(STATUSES) + ")'")
_CREATE = re.compile(r"\binsert\s+into\s+responses\b", re.IGNORECASE)
_CLAIM = re.compile(r"\bset\s[^;]*?\battempt\s*=\s*attempt\s*\+\s*1\b", re.IGNORECASE)
# An UPDATE of responses whose SET list, up to the next clause, sets the end of the response.
_END = re.compile(r"\bupdate\s+responses\b(?:(?!\bwhere\b|\bupdate\b).)*?\bfinished_at\s*=", re.IGNORECASE | re.DOTALL)
# Definitions of tables must contain literal statuses.
_EXCLUDED_FOLDERS = frozenset({"tables"})


def measure_statements(tree: Tree) -> list[Measure]:
    """Compute the rows about the SQL of the product."""
    literals = [place for source in tree.product_sources for place in _find_status_literals(source)]
    return [
        _count_matches(tree, "create_statements", "ways to create: SQL statements that insert into responses", _CREATE),
        _count_matches(tree, "claim_statements", "ways to claim: SQL statements that increment the attempt", _CLAIM),
        _count_matches(tree, "end_statements", "ways to end: SQL statements that set finished_at", _END),
        count_places("status_literals", "literal statuses in SQL, except in table definitions", 0, literals),
    ]


def _count_matches(tree: Tree, key: str, title: str, pattern: re.Pattern[str]) -> Measure:
    places = tuple(
        Place(source.path, line, " ".join(match[0].split())[:60])
        for source in tree.product_sources
        for line, text in find_strings(source)
        for match in pattern.finditer(text)
    )
    # Without a match the value is None, because the pattern no longer fits the code.
    return Measure(key, title, len(places) or None, 1, places)


def _find_status_literals(source: Source) -> Iterator[Place]:
    if _EXCLUDED_FOLDERS.isdisjoint(PurePosixPath(source.path).parts):
        for line, text in find_strings(source):
            for match in _STATUS.finditer(text):
                yield Place(source.path, line + text.count("\n", 0, match.start()), match[0])


def find_strings(source: Source) -> Iterator[tuple[int, str]]:
    """Yield string literals, except docstrings, with their first lines; replacement fields of f-strings become `{}`."""
    parts = {id(part) for node in source.nodes if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    docstrings = {id(node.value) for node in source.nodes if isinstance(node, ast.Expr)}
    for node in source.nodes:
        if isinstance(node, ast.JoinedStr):
            yield node.lineno, "".join(_literal_text(part) for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts | docstrings:
            yield node.lineno, node.value


def _literal_text(part: ast.expr) -> str:
    return part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else "{}"
