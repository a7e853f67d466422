"""Lists under /v1/responses: the responses of a project, and the input items of a response."""

from app import query
from app.endpoints.pages import render_page
from app.http import Answer, Exchange


def list_responses(exchange: Exchange) -> Answer:
    """A page of the project's responses."""
    status, model = query.status_filter(exchange), query.text_argument(exchange, "model")
    metadata, paging = query.metadata_filter(exchange), query.paging(exchange)
    responses = exchange.core.responses
    return render_page(
        responses.list_responses(exchange.caller, status=status, model=model, metadata=metadata, **paging)
    )


def list_input_items(exchange: Exchange) -> Answer:
    """A page of a response's input items."""
    responses, response_id = exchange.core.responses, exchange.values["response_id"]
    include, paging = query.include_values(exchange), query.paging(exchange)
    return render_page(responses.input_items(exchange.caller, response_id, include=include, **paging))
