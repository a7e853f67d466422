"""/openapi.json, and /docs, which displays it; no key required."""

from functools import cache

from werkzeug.exceptions import NotFound

from app import openapi
from app.http import Answer, Exchange, with_etag
from app.openapi import docs_page
from core import jsonio

CACHE_S = 24 * 3600


@cache
def _document() -> bytes:
    return jsonio.dumps(openapi.document()).encode()


def document(_: Exchange) -> Answer:
    """The OpenAPI document."""
    return Answer(_document())


def page(exchange: Exchange) -> Answer:
    """The page of Swagger UI."""
    html = docs_page.PAGE.format(
        icon=exchange.url("/docs/favicon-32x32.png"),
        base=exchange.url("/docs/index.css"),
        style=exchange.url("/docs/swagger-ui.css"),
        bundle=exchange.url("/docs/swagger-ui-bundle.js"),
        start=exchange.url(f"/docs/{docs_page.START}"),
        document=exchange.url("/openapi.json"),
    )
    headers = (("Content-Security-Policy", docs_page.POLICY),)
    return Answer(html.encode(), headers=headers, content_type="text/html; charset=utf-8")


def asset(exchange: Exchange) -> Answer:
    """A file of Swagger UI."""
    name = exchange.values["name"]
    if name not in docs_page.ASSETS:
        raise NotFound
    headers = (("Cache-Control", f"max-age={CACHE_S}"),)
    return with_etag(Answer(docs_page.read(name), headers=headers, content_type=docs_page.ASSETS[name]), exchange)
