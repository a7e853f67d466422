"""Pages of lists."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Page:
    """A page of a list. `data` has the entries in order, each as JSON text."""

    data: list[str]
    first_id: str | None
    last_id: str | None
    has_more: bool


def page_of(entries: list[tuple[str, str]], *, more: bool) -> Page:
    """The page with these entries.

    Args:
        entries: the ID and the JSON text of each.
        more: whether more entries follow the page.
    """
    return Page(
        data=[text for _, text in entries],
        first_id=entries[0][0] if entries else None,
        last_id=entries[-1][0] if entries else None,
        has_more=more,
    )
