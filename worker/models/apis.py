"""What the APIs of model servers have in common and where they differ, besides their requests and answers."""

from collections.abc import Mapping
from dataclasses import dataclass

from core.config.catalog import ModelConfig


@dataclass(frozen=True)
class ApiFeatures:
    """What a model server of one API can do, if its model can.

    Args:
        continues_text: continue an answer whose beginning it is given.
        reads_files: extract the text of files itself.
    """

    continues_text: bool
    reads_files: bool


API_FEATURES: Mapping[str, ApiFeatures] = {
    "chat_completions": ApiFeatures(continues_text=True, reads_files=False),
    "responses": ApiFeatures(continues_text=False, reads_files=True),
}


def can_continue_text(model: ModelConfig) -> bool:
    """Whether the servers of a model continue an answer whose beginning they are given."""
    return API_FEATURES[model.api].continues_text and not model.lacks("continue")


def can_read_files(model: ModelConfig) -> bool:
    """Whether the servers of a model extract the text of files; only if the configuration says so."""
    return API_FEATURES[model.api].reads_files and "files" in model.supports


def authorization(model: ModelConfig) -> dict[str, str]:
    """Return the headers that authenticate to the servers of a model; empty without an API key."""
    key = model.api_key()
    return {"Authorization": f"Bearer {key}"} if key else {}
