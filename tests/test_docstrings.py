"""The parameters and errors that docstrings name exist."""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from core import errors

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("app", "cli", "core", "worker", "local", "migrations", "bench", "checks", "tests")
FILES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
_ARGS_ENTRY = re.compile(r"    (\w+): ")
_ERROR_REFERENCE = re.compile(r"\berrors\.([A-Z]\w+)")


def documented_names(docstring: str) -> Iterator[str]:
    """The names in the section `Args:` of a docstring."""
    _, _, section = docstring.partition("Args:\n")
    for line in section.splitlines():
        if line and not line.startswith(" "):
            return
        if entry := _ARGS_ENTRY.match(line):
            yield entry[1]


def parameters(definition: ast.AST) -> set[str]:
    """The parameters of a function, or those of a class: its annotated fields and the parameters of its constructor."""
    if isinstance(definition, ast.ClassDef):
        fields = {
            item.target.id
            for item in definition.body
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
        }
        constructors = [
            item for item in definition.body if isinstance(item, ast.FunctionDef) and item.name == "__init__"
        ]
        return fields.union(*(parameters(item) for item in constructors))
    assert isinstance(definition, ast.FunctionDef | ast.AsyncFunctionDef)
    arguments = definition.args
    all_arguments = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    return {argument.arg for argument in all_arguments if argument is not None}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_docstrings_document_existing_parameters_and_errors(path: Path) -> None:
    text = path.read_text()
    definitions = [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    ]

    unknown_names = [
        f"{node.name}: {name}"
        for node in definitions
        for name in documented_names(ast.get_docstring(node) or "")
        if name not in parameters(node)
    ]
    unknown_errors = [
        name for name in _ERROR_REFERENCE.findall(text) if not inspect.isclass(getattr(errors, name, None))
    ]

    assert unknown_names == []
    assert "psycopg" in text or unknown_errors == []
