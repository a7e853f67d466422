"""/v1/projects: projects and their keys; requires a key with the right `admin`."""

from app import parsing, query
from app.endpoints.pages import render_page
from app.http import Answer, Exchange, json_object, json_text
from core.tenants.project_requests import CreateKey, CreateProject


def list_projects(exchange: Exchange) -> Answer:
    """A page of the projects to which the caller's key has access."""
    return render_page(exchange.core.projects.listed(exchange.caller, **query.paging(exchange)))


def create(exchange: Exchange) -> Answer:
    """Create a project."""
    asked = parsing.validate(CreateProject, parsing.json_body(exchange))
    return json_text(exchange.core.projects.create(exchange.caller, asked, exchange.actor))


def get(exchange: Exchange) -> Answer:
    """One project."""
    return json_text(exchange.core.projects.get(exchange.caller, exchange.values["project_id"]))


def list_keys(exchange: Exchange) -> Answer:
    """A page of a project's keys, without their secrets."""
    project_id = exchange.values["project_id"]
    return render_page(exchange.core.projects.listed_keys(exchange.caller, project_id, **query.paging(exchange)))


def create_key(exchange: Exchange) -> Answer:
    """Create a key; only this answer contains its secret."""
    asked = parsing.validate(CreateKey, parsing.json_body(exchange))
    project_id = exchange.values["project_id"]
    return _secret(exchange.core.projects.create_key(exchange.caller, project_id, asked, exchange.actor))


def get_key(exchange: Exchange) -> Answer:
    """One key, without its secret."""
    project_id, key_id = exchange.values["project_id"], exchange.values["key_id"]
    return json_text(exchange.core.projects.get_key(exchange.caller, project_id, key_id))


def rotate_key(exchange: Exchange) -> Answer:
    """Replace a key's secret; only this answer contains the new one."""
    project_id, key_id = exchange.values["project_id"], exchange.values["key_id"]
    return _secret(exchange.core.projects.rotate_key(exchange.caller, project_id, key_id, exchange.actor))


def revoke_key(exchange: Exchange) -> Answer:
    """Revoke a key."""
    project_id, key_id = exchange.values["project_id"], exchange.values["key_id"]
    exchange.core.projects.revoke_key(exchange.caller, project_id, key_id, exchange.actor)
    return json_object({"id": key_id, "object": "project.api_key", "deleted": True})


def _secret(document: str) -> Answer:
    return json_text(document).with_headers({"Cache-Control": "no-store"})
