"""Rows about functions: their length, their annotations, `Any`, and the bodies of routes."""

import ast
from collections.abc import Iterator

from checks.measure import Measure, Place, count_places, measure_sizes
from checks.tree import Function, Source, Tree, is_function

MAX_FUNCTION_LINES = 40
MAX_ROUTE_LINES = 6
_ROUTE_DECORATORS = frozenset({"route", "get", "post", "put", "patch", "delete"})


def measure_functions(tree: Tree) -> list[Measure]:
    """Compute the rows about the functions and types of the product."""
    lengths = [_measure_function(source, function) for source in tree.product_sources for function in source.functions]
    routes = [place for source in tree.product_sources for place in _find_routes(source)]
    return [
        *measure_sizes("function_lines", "lines per function", (8, 25, MAX_FUNCTION_LINES), lengths),
        _count_long("long_functions", "functions", lengths, MAX_FUNCTION_LINES),
        *_measure_types(tree),
        Measure(
            "route_lines",
            "lines per route body, max",
            max((place.weight for place in routes), default=None),
            MAX_ROUTE_LINES,
            tuple(routes),
        ),
        _count_long("long_routes", "routes", routes, MAX_ROUTE_LINES),
    ]


def _count_long(key: str, noun: str, places: list[Place], limit: int) -> Measure:
    long_places = [place for place in places if place.weight > limit]
    return count_places(key, f"{noun} of more than {limit} lines", 0, long_places)


def _measure_function(source: Source, function: Function) -> Place:
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    return Place(source.path, function.lineno, f"{function.name}() has {lines} lines", lines)


def _find_routes(source: Source) -> Iterator[Place]:
    """Find endpoints, and functions with decorators like `@routes.get("/")`; the weight is the length of the body."""
    for function in source.functions:
        if _is_endpoint(function) or any(_is_route(decorator) for decorator in function.decorator_list):
            body = [statement for statement in function.body if not _is_docstring(statement)] or function.body
            lines = (body[-1].end_lineno or 0) - body[0].lineno + 1
            yield Place(source.path, function.lineno, f"the body of {function.name}() has {lines} lines", lines)


def _is_endpoint(function: Function) -> bool:
    """Whether a function is public and has the signature of `app.http.Endpoint.function`."""
    arguments = [ast.unparse(argument.annotation) for argument in function.args.args if argument.annotation]
    return_type = ast.unparse(function.returns) if function.returns else ""
    return (arguments, return_type) == (["Exchange"], "Answer") and not function.name.startswith("_")


def _is_route(decorator: ast.expr) -> bool:
    return (
        isinstance(decorator, ast.Call)
        and isinstance(decorator.func, ast.Attribute)
        and decorator.func.attr in _ROUTE_DECORATORS
        and any(isinstance(argument, ast.Constant) for argument in decorator.args)
    )


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _measure_types(tree: Tree) -> list[Measure]:
    any_types = [place for source in tree.product_sources for place in _find_any(source)]
    any_dicts = [place for source in tree.product_sources for place in _find_any_dicts(source)]
    unannotated_functions = [place for source in tree.product_sources for place in _find_unannotated(source)]
    return [
        count_places("any_types", "`Any` in annotations, aliases and casts", 0, any_types),
        count_places("any_dicts", "of which `dict[str, Any]`", 0, any_dicts),
        count_places("unannotated_functions", "functions without complete annotations", 0, unannotated_functions),
    ]


def _find_any(source: Source) -> Iterator[Place]:
    for node in source.nodes:
        if _is_any(node):
            assert isinstance(node, ast.expr)
            yield Place(source.path, node.lineno, "Any")


def _is_any(node: ast.AST) -> bool:
    return (isinstance(node, ast.Name) and node.id == "Any") or (isinstance(node, ast.Attribute) and node.attr == "Any")


def _find_any_dicts(source: Source) -> Iterator[Place]:
    for node in source.nodes:
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Tuple):
            key_and_value = node.slice.elts
            if isinstance(node.value, ast.Name) and node.value.id == "dict" and _is_any(key_and_value[-1]):
                yield Place(source.path, node.lineno, ast.unparse(node))


def _find_unannotated(source: Source) -> Iterator[Place]:
    method_ids = {id(node) for class_ in source.classes for node in class_.body if is_function(node)}
    for function in source.functions:
        arguments = function.args
        positional_arguments = arguments.posonlyargs + arguments.args
        if id(function) in method_ids and not _is_static(function):
            del positional_arguments[0]  # `self` or `cls`
        variadic_arguments = [argument for argument in (arguments.vararg, arguments.kwarg) if argument is not None]
        checked_arguments = [*positional_arguments, *arguments.kwonlyargs, *variadic_arguments]
        has_return_type = function.returns is not None or function.name == "__init__"
        if not has_return_type or any(argument.annotation is None for argument in checked_arguments):
            yield Place(source.path, function.lineno, f"{function.name}() is not fully annotated")


def _is_static(function: Function) -> bool:
    return any(isinstance(node, ast.Name) and node.id == "staticmethod" for node in function.decorator_list)
