"""Rows about the source layout: layers of core, import cycles, modules per folder, lines per file."""

import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from checks.measure import Measure, Place, count_places, measure_sizes
from checks.repository import CheckError
from checks.tree import Tree

MAX_MODULES_PER_FOLDER = 14


def measure_layout(tree: Tree) -> list[Measure]:
    """Compute the rows about the source layout."""
    return [*_measure_layers(tree), *_measure_cycles(tree), *_measure_folders(tree), *_measure_file_lines(tree)]


def _import_contracts(tree: Tree) -> list[Mapping[str, object]]:
    contracts = tree.import_linter.get("contracts", [])
    return [contract for contract in contracts if isinstance(contract, dict)] if isinstance(contracts, list) else []


def _measure_layers(tree: Tree) -> list[Measure]:
    layer_lists = [
        contract.get("layers") for contract in _import_contracts(tree) if contract.get("containers") == ["core"]
    ]
    rows = [str(row) for layers in layer_lists if isinstance(layers, list) for row in layers]
    names = [name for row in rows for name in row.replace(":", "|").split("|") if name.strip()]
    import_lists = [contract.get("ignore_imports", []) for contract in _import_contracts(tree)]
    ignored_imports = [
        Place("pyproject.toml", 1, f"ignores {line}")
        for imports in import_lists
        if isinstance(imports, list)
        for line in imports
    ]
    return [
        Measure("core_layers", "layers of core: rows of the import contract", len(rows) or None, 10),
        Measure("core_layer_names", "layers of core: names in the import contract", len(names) or None),
        count_places("ignored_imports", "imports that a contract ignores", 0, ignored_imports),
    ]


def _measure_cycles(tree: Tree) -> list[Measure]:
    script = Path(__file__).with_name("import_cycles.py")
    # Without -P, the folder of the script would be the first entry of sys.path.
    command = [sys.executable, "-P", str(script), str(tree.root), *tree.packages]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tree.root)
    if result.returncode:
        raise CheckError(f"The import graph of {tree.root} cannot be built: {result.stderr.strip().splitlines()[-1]}")
    modules = result.stdout.split()
    places = [Place(name.replace(".", "/"), 1, f"{name} is part of an import cycle") for name in modules]
    return [count_places("cyclic_modules", "modules in an import cycle", 0, places)]


def _measure_folders(tree: Tree) -> list[Measure]:
    counts = Counter(str(PurePosixPath(path).parent) for path in tree.python_files)
    source_counts = {folder: n for folder, n in counts.items() if PurePosixPath(folder).parts[:1] != ("tests",)}
    test_counts = {folder: n for folder, n in counts.items() if folder not in source_counts}
    crowded_folders = {folder: n for folder, n in counts.items() if n > MAX_MODULES_PER_FOLDER}
    excess = sum(n - MAX_MODULES_PER_FOLDER for n in crowded_folders.values())
    return [
        _measure_largest("folder_modules", "modules in the largest folder", source_counts),
        _measure_largest("test_folder_modules", "modules in the largest test folder", test_counts),
        count_places(
            "crowded_folders",
            f"folders with more than {MAX_MODULES_PER_FOLDER} modules",
            0,
            _folder_places(crowded_folders),
        ),
        Measure(
            "crowding",
            f"modules in excess of {MAX_MODULES_PER_FOLDER} in these folders",
            excess,
            0,
            _folder_places(crowded_folders),
        ),
    ]


def _measure_largest(key: str, title: str, counts: dict[str, int]) -> Measure:
    return Measure(key, title, max(counts.values(), default=None), MAX_MODULES_PER_FOLDER, _folder_places(counts))


def _folder_places(counts: dict[str, int]) -> tuple[Place, ...]:
    return tuple(Place(folder, 1, f"{n} modules", n) for folder, n in counts.items())


def _measure_file_lines(tree: Tree) -> list[Measure]:
    sizes = [(source.path, len(source.text.splitlines())) for source in tree.product_sources]
    places = [Place(path, 1, f"{n} lines", n) for path, n in sizes if n]
    return measure_sizes("file_lines", "lines per file", (80, 200, 350), places)
