"""Distribution of the suite over the workers of pytest-xdist: the longest tests first, and no deployment twice."""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

from xdist.scheduler import LoadScopeScheduling

ROOT = Path(__file__).resolve().parents[2]
# Files that take longest, alone or because their tests share a fixture: begun last, one would prolong the whole run.
LONGEST = (
    "tests/e2e/clients/test_examples.py",
    "tests/chaos/test_scenarios.py",
    "tests/local/test_whole_stack.py",
    "tests/e2e/models/test_continuation.py",
    "tests/e2e/clients/test_prompts.py",
    "tests/e2e/faults/test_deaf.py",
    "tests/e2e/models/test_model_servers.py",
    "tests/e2e/faults/test_servers_away.py",
    "tests/chaos/test_fairness.py",
    "tests/http/test_schemathesis.py",
    "tests/runs/test_interleavings.py",
)
# Tests of these folders start processes, and wait for them most of the time.
SLOW = ("tests/e2e/", "tests/chaos/", "tests/local/")
SHARED_STACK = "the deployment of the fixture `calm`"


class Scheduling(LoadScopeScheduling):
    """`--dist loadscope` with other units of work, in the order of the collection.

    A unit is run by one worker, test after test. All tests that use the fixture `calm` are one unit, so that its
    deployment is started once and not by every worker; so are the tests of a file that has a fixture of its own for
    several tests. Any other test that starts processes is a unit by itself, and any other file is one.
    """

    def _split_scope(self, nodeid: str) -> str:
        return unit(nodeid)


def rank(nodeid: str) -> int:
    """The place of a test in the order of the run, the first one 0; tests of the same rank keep their order.

    The tests of the shared deployment are the last that start processes: it stops when its worker leaves their package.
    """
    path = nodeid.partition("::")[0]
    if unit(nodeid) == SHARED_STACK:
        return len(LONGEST) + 1
    if path in LONGEST:
        return LONGEST.index(path)
    return len(LONGEST) + (0 if path.startswith(SLOW) else 2)


def unit(nodeid: str) -> str:
    """The name of the unit of work that a test belongs to."""
    path, _, test = nodeid.partition("::")
    if not path.startswith(SLOW):
        return path
    if test.partition("[")[0] in _users(path, "calm"):
        return SHARED_STACK
    return path if _shares(path) else nodeid


@functools.cache
def _parsed(path: str) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"))


@functools.cache
def _users(path: str, fixture: str) -> frozenset[str]:
    """The functions of a file that have an argument of this name."""
    return frozenset(
        function.name for function in _functions(path) if fixture in {argument.arg for argument in function.args.args}
    )


@functools.cache
def _shares(path: str) -> bool:
    """Whether a file has a fixture whose scope is more than a test."""
    return any("scope=" in ast.unparse(decorator) for found in _functions(path) for decorator in found.decorator_list)


def _functions(path: str) -> Iterator[ast.FunctionDef]:
    return (node for node in ast.walk(_parsed(path)) if isinstance(node, ast.FunctionDef))
