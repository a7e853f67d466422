"""Renders pages of lists."""

from app.http import Answer, json_text
from core import jsonio
from core.wire.pages import Page


def render_page(page: Page) -> Answer:
    """The answer for a page, whose entries are already JSON text."""
    ends = jsonio.dumps({"first_id": page.first_id, "last_id": page.last_id, "has_more": page.has_more})
    return json_text(f'{{"object":"list","data":[{",".join(page.data)}],{ends[1:]}')
