"""Which right each route under /v1 needs; a test insists that every one is here."""

from collections.abc import Mapping

from core.tenants.rights import Right

# By method and rule, as Flask knows them. HEAD is as GET; OPTIONS says what there is to everybody with a key.
NEEDS: Mapping[tuple[str, str], Right] = {
    ("POST", "/v1/responses"): Right.WRITE,
    ("GET", "/v1/responses"): Right.READ,
    ("GET", "/v1/responses/<response_id>"): Right.READ,
    ("DELETE", "/v1/responses/<response_id>"): Right.WRITE,
    ("POST", "/v1/responses/<response_id>/cancel"): Right.CANCEL,
    ("GET", "/v1/responses/<response_id>/input_items"): Right.READ,
    ("GET", "/v1/prompts"): Right.READ,
    ("POST", "/v1/prompts"): Right.WRITE,
    ("GET", "/v1/prompts/<prompt_id>"): Right.READ,
    ("POST", "/v1/prompts/<prompt_id>"): Right.WRITE,
    ("DELETE", "/v1/prompts/<prompt_id>"): Right.WRITE,
    ("POST", "/v1/prompts/<prompt_id>/versions"): Right.WRITE,
    ("GET", "/v1/prompts/<prompt_id>/versions/<version>"): Right.READ,
    ("GET", "/v1/models"): Right.READ,
    ("GET", "/v1/models/<path:name>"): Right.READ,
    ("GET", "/v1/projects"): Right.ADMIN,
    ("POST", "/v1/projects"): Right.ADMIN,
    ("GET", "/v1/projects/<project_id>"): Right.ADMIN,
    ("GET", "/v1/projects/<project_id>/api_keys"): Right.ADMIN,
    ("POST", "/v1/projects/<project_id>/api_keys"): Right.ADMIN,
    ("GET", "/v1/projects/<project_id>/api_keys/<key_id>"): Right.ADMIN,
    ("DELETE", "/v1/projects/<project_id>/api_keys/<key_id>"): Right.ADMIN,
    ("POST", "/v1/projects/<project_id>/api_keys/<key_id>/rotate"): Right.ADMIN,
}
