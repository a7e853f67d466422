"""Endpoints under /v1/projects, for projects and their keys; they require a key with the right `admin`."""

from app import bodies, parsing, query
from app.endpoints.pages import render_page
from app.http import Answer, Exchange, json_object, json_text
from core.tenants.project_requests import CreateKey, CreateProject


def list_projects(exchange: Exchange) -> Answer:
    """A page of the projects to which the caller's key has access."""
    return render_page(exchange.core.projects.list_projects(exchange.caller, **query.paging(exchange)))


def create_project(exchange: Exchange) -> Answer:
    """Create a project."""
    request = parsing.validate(CreateProject, bodies.read_json_body(exchange))
    return json_text(exchange.core.projects.create(exchange.caller, request, exchange.actor))


def get_project(exchange: Exchange) -> Answer:
    """One project."""
    return json_text(exchange.core.projects.get(exchange.caller, exchange.values["project_id"]))


def list_keys(exchange: Exchange) -> Answer:
    """A page of a project's keys, without their secrets."""
    project_id = exchange.values["project_id"]
    return render_page(exchange.core.projects.list_keys(exchange.caller, project_id, **query.paging(exchange)))


def create_key(exchange: Exchange) -> Answer:
    """Create a key; only this answer contains its secret."""
    request = parsing.validate(CreateKey, bodies.read_json_body(exchange))
    project_id = exchange.values["project_id"]
    return _uncached_answer(exchange.core.projects.create_key(exchange.caller, project_id, request, exchange.actor))


def get_key(exchange: Exchange) -> Answer:
    """One key, without its secret."""
    project_id, key_id = exchange.values["project_id"], exchange.values["key_id"]
    return json_text(exchange.core.projects.get_key(exchange.caller, project_id, key_id))


def rotate_key(exchange: Exchange) -> Answer:
    """Replace a key's secret; only this answer contains the new secret."""
    project_id, key_id = exchange.values["project_id"], exchange.values["key_id"]
    return _uncached_answer(exchange.core.projects.rotate_key(exchange.caller, project_id, key_id, exchange.actor))


def revoke_key(exchange: Exchange) -> Answer:
    """Revoke a key."""
    project_id, key_id = exchange.values["project_id"], exchange.values["key_id"]
    exchange.core.projects.revoke_key(exchange.caller, project_id, key_id, exchange.actor)
    return json_object({"id": key_id, "object": "project.api_key", "deleted": True})


def _uncached_answer(document: str) -> Answer:
    """An answer that contains a secret, so no cache may store it."""
    return json_text(document).with_headers({"Cache-Control": "no-store"})
