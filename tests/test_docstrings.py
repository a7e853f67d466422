"""The parameters in the docstrings, and the errors in the text of each file, exist."""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from core import errors

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("app", "cli", "core", "worker", "local", "migrations", "bench", "checks", "tests")
_ARGS_ENTRY = re.compile(r"    (\w+): ")
_ERROR_NAME = re.compile(r"\berrors\.([A-Z]\w+)")


def documented_names(docstring: str) -> Iterator[str]:
    """The names of the parameters in the section `Args:` of a docstring."""
    _, _, section = docstring.partition("Args:\n")
    for line in section.splitlines():
        if line and not line.startswith(" "):
            return
        if entry := _ARGS_ENTRY.match(line):
            yield entry[1]


def parameter_names(definition: ast.AST) -> set[str]:
    """The names of the parameters of a function or of the constructor of a class, and of the fields of a dataclass."""
    if isinstance(definition, ast.ClassDef):
        fields = {
            item.target.id
            for item in definition.body
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
        }
        constructors = [
            item for item in definition.body if isinstance(item, ast.FunctionDef) and item.name == "__init__"
        ]
        return fields.union(*(parameter_names(item) for item in constructors))
    assert isinstance(definition, ast.FunctionDef | ast.AsyncFunctionDef)
    arguments = definition.args
    all_arguments = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    return {argument.arg for argument in all_arguments if argument is not None}


def find_problems(path: Path) -> Iterator[str]:
    """Describe the parameters in the docstrings of a file, and the names `errors.…` in its text, that do not exist."""
    text = path.read_text()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            for name in documented_names(ast.get_docstring(node) or ""):
                if name not in parameter_names(node):
                    yield f"{path.relative_to(ROOT)}: {node.name} has no parameter {name}"
    if "psycopg" not in text:  # psycopg has a module `errors` too
        for name in _ERROR_NAME.findall(text):
            if not inspect.isclass(getattr(errors, name, None)):
                yield f"{path.relative_to(ROOT)}: there is no errors.{name}"


@pytest.mark.parametrize("folder", FOLDERS)
def test_docstrings_document_existing_parameters_and_errors(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))

    assert files
    assert [problem for path in files for problem in find_problems(path)] == []
