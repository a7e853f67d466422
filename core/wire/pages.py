"""A page of a list, as the list endpoints return it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Page:
    """A page of a list. `data` contains the entries in order, each as JSON text."""

    data: list[str]
    first_id: str | None
    last_id: str | None
    has_more: bool


def build_page(entries: list[tuple[str, str]], *, has_more: bool) -> Page:
    """Build the page with these entries.

    Args:
        entries: the ID and the JSON text of each entry.
        has_more: whether more entries follow the page.
    """
    return Page(
        data=[text for _, text in entries],
        first_id=entries[0][0] if entries else None,
        last_id=entries[-1][0] if entries else None,
        has_more=has_more,
    )
