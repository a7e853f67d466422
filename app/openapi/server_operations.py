"""The operations on models and on the server itself in the OpenAPI document."""

from app.openapi import answers
from app.openapi.docs_page import ASSETS
from app.openapi.parts import (
    authenticated_operation,
    json_success,
    parameter,
    public_operation,
    string_schema,
)
from core.jsonio import JsonObject


def paths() -> JsonObject:
    """All operations on models and on the server by path and method."""
    return _model_operations() | _server_operations() | _documentation_operations()


def _model_operations() -> JsonObject:
    name = parameter(
        "path", "name", "The name of the model, which may contain slashes.", string_schema(), required=True
    )
    return {
        "/v1/models": {
            "get": authenticated_operation(
                "listModels",
                "Models",
                "List the models",
                successes=json_success("ModelList", "All models of the configuration."),
            ),
        },
        "/v1/models/{name}": {
            "get": authenticated_operation(
                "getModel",
                "Models",
                "Get a model",
                name,
                successes=json_success("Model", "The model."),
            ),
        },
    }


def _server_operations() -> JsonObject:
    return {
        "/healthz": {
            "get": public_operation(
                "health",
                "Check whether the process is running",
                successes=json_success("Health", "The process is running."),
            )
        },
        "/readyz": {
            "get": public_operation(
                "readiness",
                "Check whether the server can accept requests",
                successes=json_success("Readiness", "The server is ready.")
                | {"503": answers.json_answer("Unreadiness", "The server is not ready.")},
            )
        },
    }


def _documentation_operations() -> JsonObject:
    asset = parameter("path", "name", "The name of the file.", string_schema(enum=sorted(ASSETS)), required=True)
    page = answers.body_answer("text/html", string_schema(), "The documentation page.")
    file = {
        "description": "The file.",
        "content": {media_type: {"schema": string_schema()} for media_type in sorted(set(ASSETS.values()))},
    }
    return {
        "/openapi.json": {
            "get": public_operation(
                "openapi",
                "Get this document",
                successes={"200": answers.body_answer("application/json", {"type": "object"}, "The OpenAPI document.")},
            )
        },
        "/docs": {"get": public_operation("docs", "View this document", successes={"200": page})},
        "/docs/{name}": {
            "get": public_operation(
                "docsFile",
                "Get a file of the documentation page",
                asset,
                successes={"200": file},
                error_statuses=(404,),
            )
        },
    }
