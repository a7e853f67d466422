"""All operations of the OpenAPI document. A test compares them with Flask's routes."""

from app.openapi import project_operations, prompt_operations, response_operations, server_operations
from core.jsonio import JsonObject


def paths() -> JsonObject:
    """All operations by path and method."""
    return (
        response_operations.paths() | prompt_operations.paths() | project_operations.paths() | server_operations.paths()
    )
