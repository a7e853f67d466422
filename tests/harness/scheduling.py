"""Distributes the suite over pytest-xdist workers: longest tests first, the shared deployment in one worker."""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

from xdist.scheduler import LoadScopeScheduling

ROOT = Path(__file__).resolve().parents[2]
# The test files that take the longest. If one of them started last, the complete run would take longer.
LONGEST_FILES = (
    "tests/e2e/clients/test_examples.py",
    "tests/chaos/test_scenarios.py",
    "tests/local/test_whole_stack.py",
    "tests/e2e/models/test_continuation.py",
    "tests/e2e/clients/test_prompts.py",
    "tests/e2e/faults/test_stalled_workers.py",
    "tests/e2e/models/test_model_servers.py",
    "tests/e2e/faults/test_unavailable_servers.py",
    "tests/chaos/test_fairness.py",
    "tests/http/test_schemathesis.py",
    "tests/runs/test_interleavings.py",
)
# The tests in these folders start processes, and spend most of their time waiting for these processes.
SLOW_FOLDERS = ("tests/e2e/", "tests/chaos/", "tests/local/")
SHARED_STACK = "the deployment of the fixture `shared_stack`"


class Scheduling(LoadScopeScheduling):
    """`--dist loadscope` with other units of work, which start in collection order.

    One xdist worker runs all tests of a unit, one after the other. The units are:
    - all tests that use the fixture `shared_stack`, so that its deployment starts only in one worker;
    - in `SLOW_FOLDERS`, the tests of each file that has a fixture shared by several tests, and each other test;
    - in other folders, the tests of each file.
    """

    def _split_scope(self, nodeid: str) -> str:
        return find_unit(nodeid)


def find_rank(nodeid: str) -> int:
    """Return the rank of a test; tests run in the order of their ranks, and tests of equal rank keep their order.

    Of the tests that start processes, those on the shared deployment come last, because the deployment stops when its
    xdist worker leaves their package.
    """
    path = nodeid.partition("::")[0]
    if find_unit(nodeid) == SHARED_STACK:
        return len(LONGEST_FILES) + 1
    if path in LONGEST_FILES:
        return LONGEST_FILES.index(path)
    if path.startswith(SLOW_FOLDERS):
        return len(LONGEST_FILES)
    return len(LONGEST_FILES) + 2


def find_unit(nodeid: str) -> str:
    """Return the name of the unit of work that a test belongs to."""
    path, _, test = nodeid.partition("::")
    if not path.startswith(SLOW_FOLDERS):
        return path
    if test.partition("[")[0] in _find_functions_with_argument(path, "shared_stack"):
        return SHARED_STACK
    return path if _has_shared_fixture(path) else nodeid


@functools.cache
def _parse_file(path: str) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"))


@functools.cache
def _find_functions_with_argument(path: str, name: str) -> frozenset[str]:
    """Return the names of the functions in a file that have an argument with this name."""
    return frozenset(
        function.name for function in _list_functions(path) if name in {argument.arg for argument in function.args.args}
    )


@functools.cache
def _has_shared_fixture(path: str) -> bool:
    """Whether a file has a fixture with a scope wider than one test."""
    decorators = (decorator for function in _list_functions(path) for decorator in function.decorator_list)
    return any("scope=" in ast.unparse(decorator) for decorator in decorators)


def _list_functions(path: str) -> Iterator[ast.FunctionDef]:
    return (node for node in ast.walk(_parse_file(path)) if isinstance(node, ast.FunctionDef))
