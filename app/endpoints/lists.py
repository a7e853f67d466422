"""Lists under /v1/responses: a project's responses, and what one was given."""

from flask import Blueprint
from flask.typing import ResponseReturnValue

from app import query
from app.auth import caller
from app.endpoints.pages import listed
from core.responses.read import Responses


def blueprint(responses: Responses) -> Blueprint:
    """The routes of lists."""
    routes = Blueprint("lists", __name__, url_prefix="/v1/responses")

    @routes.get("")
    def list_responses() -> ResponseReturnValue:
        page = responses.listed(
            caller(),
            limit=query.limit(),
            descending=query.descending(),
            after=query.after(),
            status=query.status(),
            model=query.text("model"),
            metadata=query.metadata(),
        )
        return listed(page)

    @routes.get("/<response_id>/input_items")
    def input_items(response_id: str) -> ResponseReturnValue:
        page = responses.input_items(
            caller(),
            response_id,
            limit=query.limit(),
            descending=query.descending(),
            after=query.after(),
            include=query.include(),
        )
        return listed(page)

    return routes
