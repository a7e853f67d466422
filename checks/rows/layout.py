"""Rows about the source layout: layers of core, import cycles, modules per folder, lines per file."""

import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from checks.measure import Measure, Place, count_places, measure_sizes
from checks.repository import CheckError
from checks.tree import Tree

MODULES_PER_FOLDER = 14


def measure_layout(tree: Tree) -> list[Measure]:
    """The rows about the source layout."""
    return [*_layers(tree), *_cycles(tree), *_folders(tree), *_file_lines(tree)]


def _contracts(tree: Tree) -> list[Mapping[str, object]]:
    contracts = tree.import_linter.get("contracts", [])
    return [one for one in contracts if isinstance(one, dict)] if isinstance(contracts, list) else []


def _layers(tree: Tree) -> list[Measure]:
    layers = [one.get("layers") for one in _contracts(tree) if one.get("containers") == ["core"]]
    rows = [str(row) for one in layers if isinstance(one, list) for row in one]
    names = [name for row in rows for name in row.replace(":", "|").split("|") if name.strip()]
    excused = [one.get("ignore_imports", []) for one in _contracts(tree)]
    lines = [Place("pyproject.toml", 1, f"ignores {line}") for one in excused if isinstance(one, list) for line in one]
    return [
        Measure("core_layers", "layers of core: rows of the import contract", len(rows) or None, 10),
        Measure("core_layer_names", "layers of core: names in the import contract", len(names) or None),
        count_places("ignored_imports", "imports that a contract ignores", 0, lines),
    ]


def _cycles(tree: Tree) -> list[Measure]:
    script = Path(__file__).with_name("import_cycles.py")
    # -P: otherwise the folder of the script would be first in sys.path.
    command = [sys.executable, "-P", str(script), str(tree.root), *tree.packages]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tree.root)
    if result.returncode:
        raise CheckError(f"The import graph of {tree.root} cannot be built: {result.stderr.strip().splitlines()[-1]}")
    modules = result.stdout.split()
    places = [Place(name.replace(".", "/"), 1, f"{name} is part of an import cycle") for name in modules]
    return [count_places("cyclic_modules", "modules in an import cycle", 0, places)]


def _folders(tree: Tree) -> list[Measure]:
    counts = Counter(str(PurePosixPath(path).parent) for path in tree.python_files)
    of_source = {folder: n for folder, n in counts.items() if PurePosixPath(folder).parts[:1] != ("tests",)}
    of_tests = {folder: n for folder, n in counts.items() if folder not in of_source}
    crowded = {folder: n for folder, n in counts.items() if n > MODULES_PER_FOLDER}
    excess = sum(n - MODULES_PER_FOLDER for n in crowded.values())
    return [
        _largest("folder_modules", "modules in the largest folder", of_source),
        _largest("test_folder_modules", "modules in the largest test folder", of_tests),
        count_places("crowded_folders", f"folders with more than {MODULES_PER_FOLDER} modules", 0, _places(crowded)),
        Measure("crowding", f"modules beyond {MODULES_PER_FOLDER} in these folders", excess, 0, _places(crowded)),
    ]


def _largest(key: str, title: str, counts: dict[str, int]) -> Measure:
    return Measure(key, title, max(counts.values(), default=None), MODULES_PER_FOLDER, _places(counts))


def _places(counts: dict[str, int]) -> tuple[Place, ...]:
    return tuple(Place(folder, 1, f"{n} modules", n) for folder, n in counts.items())


def _file_lines(tree: Tree) -> list[Measure]:
    sizes = [(source.path, len(source.text.splitlines())) for source in tree.product]
    places = [Place(path, 1, f"{n} lines", n) for path, n in sizes if n]
    return measure_sizes("file_lines", "lines per file", (80, 200, 350), places)
