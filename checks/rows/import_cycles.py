"""Prints the modules of a tree that are part of an import cycle: `python import_cycles.py <folder> <package>...`.

This is a separate program, because grimp searches for packages in `sys.path`, but prefers modules that are already
imported. The program imports no module of the project and executes no code of the tree.
"""

import sys

import grimp


def main(folder: str, *packages: str) -> None:
    """Print the names of the modules in import cycles, one per line."""
    sys.path.insert(0, folder)
    graph = grimp.build_graph(*packages, cache_dir=None)
    upstream_modules = {module: graph.find_upstream_modules(module) for module in graph.modules}
    for module in sorted(graph.modules):
        imported_modules = graph.find_modules_directly_imported_by(module)
        if any(module in upstream_modules[imported] for imported in imported_modules):
            sys.stdout.write(f"{module}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
