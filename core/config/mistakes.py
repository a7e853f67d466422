"""Descriptions of mistakes in the configuration file."""

import difflib
from collections.abc import Iterable, Mapping

from pydantic import BaseModel
from pydantic_core import ErrorDetails

Tables = Mapping[tuple[str, ...], type[BaseModel]]


def describe_mistake(detail: ErrorDetails, tables: Tables) -> str:
    """Return the key of an invalid value and the reason, with a suggestion for an unknown key, as sentences.

    Args:
        tables: the tables of the file by their paths, in which "*" stands for any name.
    """
    path = [str(part) for part in detail["loc"]]
    is_unknown = detail["type"] == "extra_forbidden"
    reason = "This key is unknown" if is_unknown else detail["msg"].removeprefix("Value error, ")
    message = f"{'.'.join(path)}: {reason}" if path else reason
    hint = _suggest_key(path, detail["input"], tables) if is_unknown else ""
    return f"{message}. Did you mean {hint}?" if hint else f"{message}."


def _suggest_key(path: list[str], value: object, tables: Tables) -> str:
    """Return the text that was probably intended instead of an unknown key; empty if no known key is similar."""
    *parents, key = path
    if parents[:1] == ["models"] and isinstance(value, dict):
        return f'[models."{".".join(path[1:])}"], with quotes'  # TOML splits a name at its dots
    matches = difflib.get_close_matches(key, _valid_keys(parents, tables), n=1)
    return f"`{matches[0]}`" if matches else ""


def _valid_keys(path: list[str], tables: Tables) -> Iterable[str]:
    """Return the valid keys of the table at `path`."""
    for pattern, table in tables.items():
        if len(pattern) == len(path) and all(part in {"*", name} for part, name in zip(pattern, path, strict=True)):
            return table.model_fields
    return ()
