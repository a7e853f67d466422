"""Pages of lists."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Page:
    """A page of a list: JSON texts of its entries, in order."""

    data: list[str]
    first_id: str | None
    last_id: str | None
    has_more: bool


def page_of(entries: list[tuple[str, str]], *, more: bool) -> Page:
    """A page with these entries, each with its ID.

    Args:
        more: whether others come behind it.
    """
    return Page(
        data=[text for _, text in entries],
        first_id=entries[0][0] if entries else None,
        last_id=entries[-1][0] if entries else None,
        has_more=more,
    )
