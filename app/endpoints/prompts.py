"""Endpoints under /v1/prompts, for stored prompts and their versions."""

from app import bodies, parsing, query
from app.endpoints.pages import render_page
from app.http import Answer, Exchange, json_object, json_text
from core.prompts.prompt_requests import CreatePrompt, CreatePromptVersion, UpdatePrompt


def create_prompt(exchange: Exchange) -> Answer:
    """Create a prompt with its first version."""
    request = parsing.validate(CreatePrompt, bodies.read_json_body(exchange))
    return json_text(exchange.core.prompts.create(exchange.caller.project_id, request, exchange.actor))


def list_prompts(exchange: Exchange) -> Answer:
    """A page of the project's prompts."""
    return render_page(exchange.core.prompts.list_prompts(exchange.caller.project_id, **query.paging(exchange)))


def get_prompt(exchange: Exchange) -> Answer:
    """One prompt."""
    return json_text(exchange.core.prompts.get(exchange.caller.project_id, exchange.values["prompt_id"]))


def update_prompt(exchange: Exchange) -> Answer:
    """Change a prompt's name, description or default version."""
    request = parsing.validate(UpdatePrompt, bodies.read_json_body(exchange))
    project_id, prompt_id = exchange.caller.project_id, exchange.values["prompt_id"]
    return json_text(exchange.core.prompts.update(project_id, prompt_id, request, exchange.actor))


def delete_prompt(exchange: Exchange) -> Answer:
    """Delete a prompt with all its versions."""
    prompt_id = exchange.values["prompt_id"]
    exchange.core.prompts.delete(exchange.caller.project_id, prompt_id, exchange.actor)
    return json_object({"id": prompt_id, "object": "prompt", "deleted": True})


def add_version(exchange: Exchange) -> Answer:
    """Add a version to a prompt."""
    request = parsing.validate(CreatePromptVersion, bodies.read_json_body(exchange))
    project_id, prompt_id = exchange.caller.project_id, exchange.values["prompt_id"]
    return json_text(exchange.core.prompts.add_version(project_id, prompt_id, request, exchange.actor))


def get_version(exchange: Exchange) -> Answer:
    """One version of a prompt."""
    prompt_id, version = exchange.values["prompt_id"], exchange.values["version"]
    return json_text(exchange.core.prompts.version(exchange.caller.project_id, prompt_id, version))
