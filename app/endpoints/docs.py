"""Endpoints of the API documentation: /openapi.json, and the page /docs that displays it. No key is required."""

from functools import cache

from werkzeug.exceptions import NotFound

from app import openapi
from app.http import Answer, Exchange, with_etag
from app.openapi import docs_page
from core import jsonio

CACHE_MAX_AGE_S = 24 * 3600


@cache
def _document_bytes() -> bytes:
    return jsonio.dumps(openapi.document()).encode()


def get_document(_: Exchange) -> Answer:
    """The OpenAPI document."""
    return Answer(_document_bytes())


def get_page(exchange: Exchange) -> Answer:
    """The HTML page that starts Swagger UI."""
    headers = (("Content-Security-Policy", docs_page.POLICY),)
    return Answer(docs_page.render(exchange.url), headers=headers, content_type="text/html; charset=utf-8")


def get_asset(exchange: Exchange) -> Answer:
    """A static file of Swagger UI."""
    name = exchange.values["name"]
    if name not in docs_page.ASSETS:
        raise NotFound
    headers = (("Cache-Control", f"max-age={CACHE_MAX_AGE_S}"),)
    return with_etag(Answer(docs_page.read_asset(name), headers=headers, content_type=docs_page.ASSETS[name]), exchange)
