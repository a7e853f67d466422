"""/openapi.json, and /docs, which shows it; no key needed."""

from flask import Blueprint, Response, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import NotFound

from app import openapi
from app.openapi import docs_page
from core import jsonio

CACHE_S = 24 * 3600


def blueprint() -> Blueprint:
    """The routes of the documentation."""
    routes = Blueprint("docs", __name__)
    document = jsonio.dumps(openapi.document())

    @routes.get("/openapi.json")
    def described() -> ResponseReturnValue:
        return Response(document, mimetype="application/json")

    @routes.get("/docs")
    def page() -> ResponseReturnValue:
        html = docs_page.PAGE.format(
            icon=_at("favicon-32x32.png"),
            base=_at("index.css"),
            style=_at("swagger-ui.css"),
            bundle=_at("swagger-ui-bundle.js"),
            start=_at(docs_page.START),
            document=url_for("docs.described"),
        )
        return Response(html, mimetype="text/html", headers={"Content-Security-Policy": docs_page.POLICY})

    @routes.get("/docs/<name>")
    def asset(name: str) -> ResponseReturnValue:
        if name not in docs_page.ASSETS:
            raise NotFound
        answer = Response(docs_page.read(name), mimetype=docs_page.ASSETS[name])
        answer.cache_control.max_age = CACHE_S
        answer.add_etag()
        return answer.make_conditional(request)

    return routes


def _at(name: str) -> str:
    return url_for("docs.asset", name=name)
