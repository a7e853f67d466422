"""Rows about names: names that are not unique and thus hard to search for, and names that contain retired words."""

import ast
import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from checks.measure import Measure, Place, count_places
from checks.rows import retired
from checks.tree import Source, Tree

_STANDARD_FILE_NAMES = frozenset({"__init__.py", "__main__.py"})
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


def measure_names(tree: Tree) -> list[Measure]:
    """Compute the rows about the names of the product."""
    return [
        *_measure_function_names(tree),
        *_measure_class_names(tree),
        *_measure_file_names(tree),
        _measure_retired_names(tree),
    ]


def split_words(identifier: str) -> tuple[str, ...]:
    """Split an identifier in snake case or camel case into words in lower case."""
    return tuple(word.lower() for word in _WORD.findall(identifier))


def find_retired_word(identifier: str) -> str | None:
    """Return the first retired word or phrase in an identifier, or None if the identifier contains none."""
    if identifier in retired.ALLOWED:
        return None
    if identifier in retired.IDENTIFIERS:
        return identifier
    words = split_words(identifier)
    retired_words = [word for word in words if word in retired.WORDS]
    retired_phrases = ["_".join(pair) for pair in itertools.pairwise(words) if pair in retired.PHRASES]
    return next(iter(retired_words + retired_phrases), None)


def _measure_function_names(tree: Tree) -> list[Measure]:
    places = defaultdict(list)
    for source in tree.product_sources:
        for function in source.functions:
            if not function.name.startswith("__"):
                places[function.name].append(Place(source.path, function.lineno, f"{function.name}()"))
    one_word_places = [
        place for name, name_places in places.items() if len(split_words(name)) == 1 for place in name_places
    ]
    function_count = sum(len(name_places) for name_places in places.values())
    share = round(100 * len(one_word_places) / function_count) if function_count else None
    namesakes = max(places.values(), key=len, default=[])
    return [
        Measure("one_word_functions", "functions with a one-word name, %", share, None, tuple(one_word_places)),
        Measure("function_namesakes", "functions with the most frequent name", len(namesakes), 1, tuple(namesakes)),
    ]


def _measure_class_names(tree: Tree) -> list[Measure]:
    places = [
        Place(source.path, class_.lineno, class_.name) for source in tree.product_sources for class_ in source.classes
    ]
    return [_measure_repeated("repeated_classes", "class names used more than once", places)]


def _measure_file_names(tree: Tree) -> list[Measure]:
    names = [PurePosixPath(source.path).name for source in tree.product_sources]
    places = [
        Place(source.path, 1, name)
        for source, name in zip(tree.product_sources, names, strict=True)
        if name not in _STANDARD_FILE_NAMES
    ]
    return [_measure_repeated("repeated_files", "file names used more than once", places)]


def _measure_repeated(key: str, title: str, places: Iterable[Place]) -> Measure:
    """Create a measure of the names that occur more than once; the note of each place is its name."""
    places = list(places)
    counts = Counter(place.note for place in places)
    repeated_places = tuple(place for place in places if counts[place.note] > 1)
    return Measure(key, title, sum(n > 1 for n in counts.values()), 0, repeated_places)


def _measure_retired_names(tree: Tree) -> Measure:
    places = [
        Place(source.path, line, f"{identifier} ('{word}' is retired)")
        for source in tree.product_sources
        for identifier, line in _find_identifiers(source).items()
        if (word := find_retired_word(identifier)) and (source.path, identifier) not in retired.ALLOWED_IN_FILE
    ]
    return count_places("retired_names", "identifiers with a retired word, once per file", 0, places)


def _find_identifiers(source: Source) -> dict[str, int]:
    """Return the identifiers that a file defines, each with its first line.

    These are the names of the file, of functions, classes, arguments, variables and attributes, and import aliases.
    """
    first_lines: dict[str, int] = {PurePosixPath(source.path).stem: 1}
    for node in source.nodes:
        for identifier, line in _find_definitions(node):
            first_lines[identifier] = min(line, first_lines.get(identifier, line))
    return first_lines


def _find_definitions(node: ast.AST) -> Iterator[tuple[str, int]]:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield node.name, node.lineno
        case ast.arg():
            yield node.arg, node.lineno
        case ast.Name(ctx=ast.Store()):
            yield node.id, node.lineno
        case ast.Attribute(ctx=ast.Store()):
            yield node.attr, node.lineno
        case ast.alias(asname=str(name)):
            yield name, node.lineno
