"""The result of one check of a dependency, and the checks of the configured model servers."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from core.config.catalog import Catalog, ModelConfig
from local import web


@dataclass(frozen=True)
class Finding:
    """The result of one check; `solution` describes how to fix the problem, and is None if there is no problem."""

    subject: str
    result: str
    solution: str | None = None


def check_model_servers(catalog: Catalog) -> Iterator[Finding]:
    """Request the list of models from each server of each configured model; yield a finding per server."""
    for name, model in catalog.models.items():
        if model.api_key_env and model.api_key() is None:
            result = f"{name}: the variable {model.api_key_env}, which api_key_env names, is not set"
            yield Finding("model", result, "Set it for the workers, to the API key of the model server.")
        else:
            for base_url in model.endpoints:
                yield _check_model_server(name, base_url, model)


def _check_model_server(name: str, base_url: str, model: ModelConfig) -> Finding:
    status = web.status(f"{base_url}/models", key=model.api_key())
    if status is None or status >= 500:
        problem = "does not answer" if status is None else f"answers {status}"
        return Finding(
            "model", f"{name}: {mask_password(base_url)} {problem}", "Start its server, or correct base_url."
        )
    if status in {401, 403}:
        return Finding(
            "model", f"{name}: {mask_password(base_url)} rejects the key", "Set the variable that api_key_env names."
        )
    if status == 404 and _lacks_endpoint(base_url, model):
        result = f"{name}: {mask_password(base_url)} answers 404 to requests for models and for responses"
        return Finding("model", result, "Correct base_url, which usually ends with /v1.")
    return Finding("model", f"{name} answers at {mask_password(base_url)}")


def _lacks_endpoint(base_url: str, model: ModelConfig) -> bool:
    """Whether the server has no endpoint of the model's API at this URL; a server need not list its models."""
    path = "responses" if model.api == "responses" else "chat/completions"
    return web.status(f"{base_url}/{path}", key=model.api_key(), method="POST") == 404


def mask_password(text: str) -> str:
    """The URL, or a message that contains a URL, with `***` instead of the password."""
    return re.sub(r"(password=)[^&]*", r"\1***", re.sub(r"(://[^:/?#]*):.*@", r"\1:***@", text))
