"""/v1/projects: projects and their keys, for keys with the right `admin`."""

from flask import Blueprint, Response
from flask.typing import ResponseReturnValue

from app import parsing, query
from app.auth import actor, caller
from app.endpoints.pages import listed
from core.bootstrap import Core
from core.tenants.project_requests import CreateKey, CreateProject


def blueprint(core: Core) -> Blueprint:
    """The routes of projects."""
    routes = Blueprint("projects", __name__, url_prefix="/v1/projects")
    projects = core.projects

    @routes.get("")
    def list_projects() -> ResponseReturnValue:
        page = projects.listed(caller(), limit=query.limit(), descending=query.descending(), after=query.after())
        return listed(page)

    @routes.post("")
    def create() -> ResponseReturnValue:
        asked = parsing.validate(CreateProject, parsing.json_object(core.waiting.upload()))
        return _json(projects.create(caller(), asked, actor()))

    @routes.get("/<project_id>")
    def get(project_id: str) -> ResponseReturnValue:
        return _json(projects.get(caller(), project_id))

    @routes.get("/<project_id>/api_keys")
    def list_keys(project_id: str) -> ResponseReturnValue:
        page = projects.listed_keys(
            caller(), project_id, limit=query.limit(), descending=query.descending(), after=query.after()
        )
        return listed(page)

    @routes.post("/<project_id>/api_keys")
    def create_key(project_id: str) -> ResponseReturnValue:
        asked = parsing.validate(CreateKey, parsing.json_object(core.waiting.upload()))
        return _secret(projects.create_key(caller(), project_id, asked, actor()))

    @routes.get("/<project_id>/api_keys/<key_id>")
    def get_key(project_id: str, key_id: str) -> ResponseReturnValue:
        return _json(projects.get_key(caller(), project_id, key_id))

    @routes.post("/<project_id>/api_keys/<key_id>/rotate")
    def rotate_key(project_id: str, key_id: str) -> ResponseReturnValue:
        return _secret(projects.rotate_key(caller(), project_id, key_id, actor()))

    @routes.delete("/<project_id>/api_keys/<key_id>")
    def revoke_key(project_id: str, key_id: str) -> ResponseReturnValue:
        projects.revoke_key(caller(), project_id, key_id, actor())
        return {"id": key_id, "object": "project.api_key", "deleted": True}

    return routes


def _json(document: str) -> Response:
    return Response(document, mimetype="application/json")


def _secret(document: str) -> Response:
    answer = _json(document)
    answer.cache_control.no_store = True
    return answer
