"""Rows about code that should exist only once: the response object, terminal error codes, Redis clients."""

import ast
import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from checks.measure import Measure, Place, count_places
from checks.rows.statements import find_strings
from checks.rows.wire_names import ERROR_CODES, RESPONSE_FIELDS
from checks.tree import Source, Tree

# The file that lists the field names for this check, and is therefore not counted.
_FIELDS_FILE = "checks/rows/wire_names.py"
# Name of the module that defines all terminal error codes.
_CODES_MODULE = "codes.py"
# `local` and `cli` connect to a server once per command, each with its own client.
_PACKAGES_WITH_OWN_CLIENTS = frozenset({"local", "cli"})


def measure_definitions(tree: Tree) -> list[Measure]:
    """Compute the rows about code that should exist only once."""
    object_modules = [
        Place(path, 1, "names every field of the response object")
        for path in tree.python_files
        if path != _FIELDS_FILE and set(re.findall(r"\w+", tree.read_text(path))) >= RESPONSE_FIELDS
    ]
    codes = [place for source in tree.product_sources for place in _find_error_codes(source)]
    clients = [place for source in tree.product_sources for place in _find_redis_clients(source)]
    title = f"modules that name all {len(RESPONSE_FIELDS)} fields of the response object"
    return [
        Measure("response_object_modules", title, len(object_modules) or None, 1, tuple(object_modules)),
        count_places("error_code_literals", f"literal terminal error codes outside {_CODES_MODULE}", 0, codes),
        Measure(
            "redis_clients",
            "modules of the servers that construct Redis clients",
            len({place.path for place in clients}) or None,
            1,
            tuple(clients),
        ),
    ]


def _find_error_codes(source: Source) -> Iterator[Place]:
    if PurePosixPath(source.path).name != _CODES_MODULE:
        for line, text in find_strings(source):
            if text in ERROR_CODES:
                yield Place(source.path, line, f'"{text}"')


def _find_redis_clients(source: Source) -> Iterator[Place]:
    if source.package not in _PACKAGES_WITH_OWN_CLIENTS:
        for node in source.nodes:
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("Redis", "Redis.from_url")):
                yield Place(source.path, node.lineno, f"{ast.unparse(node.func)}()")
