"""A parsed source tree: the Python files of the packages listed in pyproject.toml, and the project configuration."""

import ast
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TypeGuard

# Root packages that are not part of the product.
TOOL_PACKAGES = frozenset({"bench", "checks", "migrations"})

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Source:
    """One parsed Python file; `path` is relative to the root of the tree, with slashes."""

    path: str
    text: str
    nodes: tuple[ast.AST, ...] = field(repr=False)

    @property
    def package(self) -> str:
        """The top-level folder."""
        return PurePosixPath(self.path).parts[0]

    @property
    def functions(self) -> Iterator[Function]:
        """Functions and methods, including nested functions."""
        return (node for node in self.nodes if is_function(node))

    @property
    def classes(self) -> Iterator[ast.ClassDef]:
        """Classes, including nested classes."""
        return (node for node in self.nodes if isinstance(node, ast.ClassDef))


@dataclass(frozen=True)
class Tree:
    """The files of a checkout; `files` are paths relative to `root`."""

    root: Path
    files: tuple[str, ...]

    @cached_property
    def python_files(self) -> tuple[str, ...]:
        """Paths of all Python files, including those of tests."""
        return tuple(path for path in self.files if path.endswith(".py"))

    @cached_property
    def import_linter(self) -> Mapping[str, object]:
        """The table `tool.importlinter` of pyproject.toml."""
        project = tomllib.loads((self.root / "pyproject.toml").read_text())
        table: Mapping[str, object] = project["tool"]["importlinter"]
        return table

    @cached_property
    def packages(self) -> tuple[str, ...]:
        """The root packages of the import contracts."""
        names = self.import_linter["root_packages"]
        return tuple(str(name) for name in names) if isinstance(names, list) else ()

    @cached_property
    def product_sources(self) -> tuple[Source, ...]:
        """The parsed files of the product, which are the root packages without `TOOL_PACKAGES`."""
        product_packages = frozenset(self.packages) - TOOL_PACKAGES
        return tuple(
            self.parse_file(path) for path in self.python_files if PurePosixPath(path).parts[0] in product_packages
        )

    def read_text(self, path: str) -> str:
        """Read the text of a file of the tree."""
        return (self.root / path).read_text(encoding="utf-8")

    def parse_file(self, path: str) -> Source:
        """Parse a file of the tree."""
        text = self.read_text(path)
        return Source(path, text, tuple(ast.walk(ast.parse(text, path))))


def is_function(node: ast.AST) -> TypeGuard[Function]:
    """Whether the node defines a function or method."""
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


def read_folder(root: Path) -> Tree:
    """Create the tree of an exported commit from all files of a folder."""
    paths = (path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    return Tree(root, tuple(sorted(paths)))
