"""Endpoints under /v1/models."""

import time

from app.http import Answer, Exchange, json_object
from core import errors
from core.jsonio import JsonObject

_STARTED_AT = int(time.time())  # the configuration has no creation dates


def list_models(exchange: Exchange) -> Answer:
    """Answer with all configured models."""
    return json_object(
        {"object": "list", "data": [_model_object(name) for name in exchange.core.live_catalog.current.models]}
    )


def get_model(exchange: Exchange) -> Answer:
    """Answer with one model."""
    name = exchange.values["name"]
    if name not in exchange.core.live_catalog.current.models:
        raise errors.NotFound(f"The model '{name[:200]}' does not exist.", param="model", code="model_not_found")
    return json_object(_model_object(name))


def _model_object(name: str) -> JsonObject:
    return {"id": name, "object": "model", "created": _STARTED_AT, "owned_by": "backburner"}
