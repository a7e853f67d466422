"""The features of each model server API, and the authentication that all APIs share."""

from collections.abc import Mapping
from dataclasses import dataclass

from core.config.catalog import ModelConfig


@dataclass(frozen=True)
class ApiFeatures:
    """The features of one API; a model may lack them although its API has them.

    Args:
        continues_text: whether a server can receive the beginning of an answer and continue it.
        reads_files: whether a server can extract the text of files.
    """

    continues_text: bool
    reads_files: bool


API_FEATURES: Mapping[str, ApiFeatures] = {
    "chat_completions": ApiFeatures(continues_text=True, reads_files=False),
    "responses": ApiFeatures(continues_text=False, reads_files=True),
}


def can_continue_text(model: ModelConfig) -> bool:
    """Whether the servers of a model can receive the beginning of an answer and continue it."""
    return API_FEATURES[model.api].continues_text and not model.lacks("continue")


def can_read_files(model: ModelConfig) -> bool:
    """Whether the servers of a model extract the text of files: the API and the configuration must both allow it."""
    return API_FEATURES[model.api].reads_files and "files" in model.supports


def authorization(model: ModelConfig) -> dict[str, str]:
    """Return the headers that authenticate to the servers of a model; empty without an API key."""
    key = model.api_key()
    return {"Authorization": f"Bearer {key}"} if key else {}
