"""Rows about names: how unambiguous they are in a text search, and retired words."""

import ast
import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from checks.measure import Measure, Place, count_places
from checks.rows import retired
from checks.tree import Source, Tree

_SAME_EVERYWHERE = frozenset({"__init__.py", "__main__.py"})
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


def measure_names(tree: Tree) -> list[Measure]:
    """The rows about the names of the product."""
    return [*_function_names(tree), *_class_names(tree), *_file_names(tree), _retired_names(tree)]


def split_words(identifier: str) -> tuple[str, ...]:
    """Split an identifier in snake case or camel case into words in lower case."""
    return tuple(word.lower() for word in _WORD.findall(identifier))


def find_retired_word(identifier: str) -> str | None:
    """The first retired word or phrase in an identifier; None if there is none."""
    if identifier in retired.ALLOWED:
        return None
    if identifier in retired.IDENTIFIERS:
        return identifier
    words = split_words(identifier)
    phrases = (pair for pair in itertools.pairwise(words) if pair in retired.PHRASES)
    return next((word for word in words if word in retired.WORDS), None) or next(map("_".join, phrases), None)


def _function_names(tree: Tree) -> list[Measure]:
    places = defaultdict(list)
    for source in tree.product:
        for function in source.functions:
            if not function.name.startswith("__"):
                places[function.name].append(Place(source.path, function.lineno, f"{function.name}()"))
    single = [place for name, found in places.items() if len(split_words(name)) == 1 for place in found]
    functions = sum(map(len, places.values()))
    share = round(100 * len(single) / functions) if functions else None
    most_common = max(places.values(), key=len, default=[])
    return [
        Measure("one_word_functions", "functions with a one-word name, %", share, None, tuple(single)),
        Measure("function_namesakes", "functions with the most frequent name", len(most_common), 1, tuple(most_common)),
    ]


def _class_names(tree: Tree) -> list[Measure]:
    places = [Place(source.path, one.lineno, one.name) for source in tree.product for one in source.classes]
    return [_repeated("repeated_classes", "class names used more than once", places)]


def _file_names(tree: Tree) -> list[Measure]:
    names = [PurePosixPath(source.path).name for source in tree.product]
    places = [
        Place(source.path, 1, name)
        for source, name in zip(tree.product, names, strict=True)
        if name not in _SAME_EVERYWHERE
    ]
    return [_repeated("repeated_files", "file names used more than once", places)]


def _repeated(key: str, title: str, places: Iterable[Place]) -> Measure:
    """The number of names (the notes of the places) that occur more than once."""
    places = list(places)
    counts = Counter(place.note for place in places)
    repeated = tuple(place for place in places if counts[place.note] > 1)
    return Measure(key, title, sum(n > 1 for n in counts.values()), 0, repeated)


def _retired_names(tree: Tree) -> Measure:
    places = [
        Place(source.path, line, f"{identifier} ('{word}' is retired)")
        for source in tree.product
        for identifier, line in _identifiers(source).items()
        if (word := find_retired_word(identifier)) and (source.path, identifier) not in retired.ALLOWED_IN
    ]
    return count_places("retired_names", "identifiers with a retired word, once per file", 0, places)


def _identifiers(source: Source) -> dict[str, int]:
    """The identifiers that a file defines, with their first line.

    These are the file name, functions, classes, arguments, variables, attributes and import aliases.
    """
    first: dict[str, int] = {PurePosixPath(source.path).stem: 1}
    for node in source.nodes:
        for identifier, line in _defined(node):
            first[identifier] = min(line, first.get(identifier, line))
    return first


def _defined(node: ast.AST) -> Iterator[tuple[str, int]]:
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
