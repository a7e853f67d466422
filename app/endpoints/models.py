"""/v1/models."""

import time
from typing import Any

from flask import Blueprint
from flask.typing import ResponseReturnValue

from core import errors
from core.config.catalog import Catalog


def blueprint(catalog: Catalog) -> Blueprint:
    """The routes of models; clients probe them."""
    routes = Blueprint("models", __name__, url_prefix="/v1/models")
    started_at = int(time.time())  # a configured model has no other date

    def model(name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": started_at, "owned_by": "backburner"}

    @routes.get("")
    def models() -> ResponseReturnValue:
        return {"object": "list", "data": [model(name) for name in catalog.models]}

    @routes.get("/<path:name>")
    def get(name: str) -> ResponseReturnValue:
        if name not in catalog.models:
            raise errors.NotFound(f"The model '{name[:200]}' does not exist.", param="model", code="model_not_found")
        return model(name)

    return routes
