"""The table of endpoints: method, path, required right and function."""

from app.endpoints import docs, health, lists, models, projects, prompts, responses
from app.http import Endpoint
from core.tenants.rights import Right

READ, WRITE, CANCEL, ADMIN = Right.READ, Right.WRITE, Right.CANCEL, Right.ADMIN

TABLE = (
    Endpoint("POST", "/v1/responses", WRITE, responses.create_response),
    Endpoint("GET", "/v1/responses", READ, lists.list_responses),
    Endpoint("GET", "/v1/responses/<response_id>", READ, responses.get_response),
    Endpoint("DELETE", "/v1/responses/<response_id>", WRITE, responses.delete_response),
    Endpoint("POST", "/v1/responses/<response_id>/cancel", CANCEL, responses.cancel_response),
    Endpoint("GET", "/v1/responses/<response_id>/input_items", READ, lists.list_input_items),
    Endpoint("GET", "/v1/prompts", READ, prompts.list_prompts),
    Endpoint("POST", "/v1/prompts", WRITE, prompts.create_prompt),
    Endpoint("GET", "/v1/prompts/<prompt_id>", READ, prompts.get_prompt),
    Endpoint("POST", "/v1/prompts/<prompt_id>", WRITE, prompts.update_prompt),
    Endpoint("DELETE", "/v1/prompts/<prompt_id>", WRITE, prompts.delete_prompt),
    Endpoint("POST", "/v1/prompts/<prompt_id>/versions", WRITE, prompts.add_version),
    Endpoint("GET", "/v1/prompts/<prompt_id>/versions/<version>", READ, prompts.get_version),
    Endpoint("GET", "/v1/models", READ, models.list_models),
    Endpoint("GET", "/v1/models/<path:name>", READ, models.get_model),
    Endpoint("GET", "/v1/projects", ADMIN, projects.list_projects),
    Endpoint("POST", "/v1/projects", ADMIN, projects.create_project),
    Endpoint("GET", "/v1/projects/<project_id>", ADMIN, projects.get_project),
    Endpoint("GET", "/v1/projects/<project_id>/api_keys", ADMIN, projects.list_keys),
    Endpoint("POST", "/v1/projects/<project_id>/api_keys", ADMIN, projects.create_key),
    Endpoint("GET", "/v1/projects/<project_id>/api_keys/<key_id>", ADMIN, projects.get_key),
    Endpoint("DELETE", "/v1/projects/<project_id>/api_keys/<key_id>", ADMIN, projects.revoke_key),
    Endpoint("POST", "/v1/projects/<project_id>/api_keys/<key_id>/rotate", ADMIN, projects.rotate_key),
    Endpoint("GET", "/healthz", None, health.get_health),
    Endpoint("GET", "/readyz", None, health.get_readiness),
    Endpoint("GET", "/openapi.json", None, docs.get_document),
    Endpoint("GET", "/docs", None, docs.get_page),
    Endpoint("GET", "/docs/<name>", None, docs.get_asset),
)
