"""/v1/prompts: stored prompts and their versions."""

from flask import Blueprint, Response
from flask.typing import ResponseReturnValue

from app import parsing, query
from app.auth import actor, caller
from app.endpoints.pages import listed
from core.bootstrap import Core
from core.prompts.prompt_requests import CreatePrompt, CreatePromptVersion, UpdatePrompt


def blueprint(core: Core) -> Blueprint:
    """The routes of prompts."""
    routes = Blueprint("prompts", __name__, url_prefix="/v1/prompts")
    prompts = core.prompts

    @routes.post("")
    def create() -> ResponseReturnValue:
        asked = parsing.validate(CreatePrompt, parsing.json_object(core.waiting.upload()))
        return _json(prompts.create(caller().project_id, asked, actor()))

    @routes.get("")
    def list_prompts() -> ResponseReturnValue:
        page = prompts.listed(
            caller().project_id, limit=query.limit(), descending=query.descending(), after=query.after()
        )
        return listed(page)

    @routes.get("/<prompt_id>")
    def get(prompt_id: str) -> ResponseReturnValue:
        return _json(prompts.get(caller().project_id, prompt_id))

    @routes.post("/<prompt_id>")
    def update(prompt_id: str) -> ResponseReturnValue:
        asked = parsing.validate(UpdatePrompt, parsing.json_object(core.waiting.upload()))
        return _json(prompts.update(caller().project_id, prompt_id, asked, actor()))

    @routes.delete("/<prompt_id>")
    def delete(prompt_id: str) -> ResponseReturnValue:
        prompts.delete(caller().project_id, prompt_id, actor())
        return {"id": prompt_id, "object": "prompt", "deleted": True}

    @routes.post("/<prompt_id>/versions")
    def add_version(prompt_id: str) -> ResponseReturnValue:
        asked = parsing.validate(CreatePromptVersion, parsing.json_object(core.waiting.upload()))
        return _json(prompts.add_version(caller().project_id, prompt_id, asked, actor()))

    @routes.get("/<prompt_id>/versions/<version>")
    def version(prompt_id: str, version: str) -> ResponseReturnValue:
        return _json(prompts.version(caller().project_id, prompt_id, version))

    return routes


def _json(document: str) -> Response:
    return Response(document, mimetype="application/json")
