"""Rows about functions: their length, their annotations, `Any`, and the bodies of routes."""

import ast
from collections.abc import Iterator

from checks.measure import Measure, Place, count_places, measure_sizes
from checks.tree import Function, Source, Tree, is_function

FUNCTION_LINES = 40
ROUTE_LINES = 6
_ROUTE_DECORATORS = frozenset({"route", "get", "post", "put", "patch", "delete"})


def measure_functions(tree: Tree) -> list[Measure]:
    """The rows about the functions and types of the product."""
    lengths = [_length(source, function) for source in tree.product for function in source.functions]
    routes = [place for source in tree.product for place in _routes(source)]
    return [
        *measure_sizes("function_lines", "lines per function", (8, 25, FUNCTION_LINES), lengths),
        _longer_than("long_functions", "functions", lengths, FUNCTION_LINES),
        *_types(tree),
        Measure(
            "route_lines",
            "lines per route body, max",
            max((place.weight for place in routes), default=None),
            ROUTE_LINES,
            tuple(routes),
        ),
        _longer_than("long_routes", "routes", routes, ROUTE_LINES),
    ]


def _longer_than(key: str, what: str, places: list[Place], limit: int) -> Measure:
    longer = [place for place in places if place.weight > limit]
    return count_places(key, f"{what} of more than {limit} lines", 0, longer)


def _length(source: Source, function: Function) -> Place:
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    return Place(source.path, function.lineno, f"{function.name}() has {lines} lines", lines)


def _routes(source: Source) -> Iterator[Place]:
    """Functions registered by a decorator such as `@routes.get("/")`, with the number of lines of their bodies."""
    for function in source.functions:
        if _is_endpoint(function) or any(_is_route(decorator) for decorator in function.decorator_list):
            body = [part for part in function.body if not _is_docstring(part)] or function.body
            lines = (body[-1].end_lineno or 0) - body[0].lineno + 1
            yield Place(source.path, function.lineno, f"the body of {function.name}() has {lines} lines", lines)


def _is_endpoint(function: Function) -> bool:
    """Whether a public function has the signature of `app.http.Endpoint.function`."""
    arguments = [ast.unparse(argument.annotation) for argument in function.args.args if argument.annotation]
    returned = ast.unparse(function.returns) if function.returns else ""
    return (arguments, returned) == (["Exchange"], "Answer") and not function.name.startswith("_")


def _is_route(decorator: ast.expr) -> bool:
    return (
        isinstance(decorator, ast.Call)
        and isinstance(decorator.func, ast.Attribute)
        and decorator.func.attr in _ROUTE_DECORATORS
        and any(isinstance(argument, ast.Constant) for argument in decorator.args)
    )


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _types(tree: Tree) -> list[Measure]:
    anys = [place for source in tree.product for place in _anys(source)]
    dicts = [place for source in tree.product for place in _any_dicts(source)]
    bare = [place for source in tree.product for place in _unannotated(source)]
    return [
        count_places("any_types", "`Any` in annotations, aliases and casts", 0, anys),
        count_places("any_dicts", "of which `dict[str, Any]`", 0, dicts),
        count_places("unannotated_functions", "functions without complete annotations", 0, bare),
    ]


def _anys(source: Source) -> Iterator[Place]:
    for node in source.nodes:
        if _is_any(node):
            assert isinstance(node, ast.expr)
            yield Place(source.path, node.lineno, "Any")


def _is_any(node: ast.AST) -> bool:
    return (isinstance(node, ast.Name) and node.id == "Any") or (isinstance(node, ast.Attribute) and node.attr == "Any")


def _any_dicts(source: Source) -> Iterator[Place]:
    for node in source.nodes:
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Tuple):
            key_and_value = node.slice.elts
            if isinstance(node.value, ast.Name) and node.value.id == "dict" and _is_any(key_and_value[-1]):
                yield Place(source.path, node.lineno, ast.unparse(node))


def _unannotated(source: Source) -> Iterator[Place]:
    methods = {id(part) for one in source.classes for part in one.body if is_function(part)}
    for function in source.functions:
        arguments = function.args
        positional = arguments.posonlyargs + arguments.args
        checked = positional[1:] if id(function) in methods and not _is_static(function) else positional
        checked = [*checked, *arguments.kwonlyargs, *filter(None, (arguments.vararg, arguments.kwarg))]
        returns = function.returns is not None or function.name == "__init__"
        if not returns or any(argument.annotation is None for argument in checked):
            yield Place(source.path, function.lineno, f"{function.name}() is not fully annotated")


def _is_static(function: Function) -> bool:
    return any(isinstance(one, ast.Name) and one.id == "staticmethod" for one in function.decorator_list)
