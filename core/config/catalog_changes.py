"""Describes the differences between two configurations for the log."""

from collections.abc import Iterable

from core.config.catalog import Catalog


def describe_changes(old: Catalog, new: Catalog) -> dict[str, str]:
    """Return the changes from `old` to `new` as fields of a log line.

    Returns:
        The names of added, removed and changed models, and of the projects whose limits changed, separated by commas.
    """
    old_tables, new_tables = old.limits.tables, new.limits.tables
    return {
        "added_models": _join_names(new.models.keys() - old.models.keys()),
        "removed_models": _join_names(old.models.keys() - new.models.keys()),
        "changed_models": _join_names(
            name for name in old.models.keys() & new.models.keys() if not new.models[name].is_same_as(old.models[name])
        ),
        "projects_with_changed_limits": _join_names(
            project
            for project in old_tables.keys() | new_tables.keys()
            if old_tables.get(project) != new_tables.get(project)
        ),
    }


def _join_names(names: Iterable[str]) -> str:
    return ",".join(sorted(names))
