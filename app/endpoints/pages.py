"""A page of a list as its answer."""

from flask import Response

from core import jsonio
from core.wire.pages import Page


def listed(page: Page) -> Response:
    """The answer with a page."""
    # Entries are JSON already.
    ends = jsonio.dumps({"first_id": page.first_id, "last_id": page.last_id, "has_more": page.has_more})
    return Response(f'{{"object":"list","data":[{",".join(page.data)}],{ends[1:]}', mimetype="application/json")
