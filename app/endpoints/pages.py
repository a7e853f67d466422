"""Renders pages of lists."""

from app.http import Answer, json_text
from core import jsonio
from core.wire.pages import Page


def render_page(page: Page) -> Answer:
    """Render a page as an answer; the entries of the page are already JSON text."""
    trailer = jsonio.dumps({"first_id": page.first_id, "last_id": page.last_id, "has_more": page.has_more})
    return json_text(f'{{"object":"list","data":[{",".join(page.data)}],{trailer[1:]}')
