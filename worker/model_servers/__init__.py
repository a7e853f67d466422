"""Model servers: what a run needs of one, whatever API it speaks."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol

from core.catalog import ModelConfig
from core.schemas.request import CreateResponse


@dataclass(frozen=True)
class TextDelta:
    """More of the answer's text."""

    text: str


@dataclass(frozen=True)
class Finished:
    """The model server said why it stopped.

    Args:
        reason: `stop`, `length` or `content_filter`; None where it ended properly without saying.
    """

    reason: str | None


@dataclass(frozen=True)
class Used:
    """The tokens the model server counted."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0


Output = TextDelta | Finished | Used


class ModelServer(Protocol):
    """A client of model servers of one API."""

    def stream(self, name: str, model: ModelConfig, request: CreateResponse) -> AsyncGenerator[Output]:
        """The answer to a request, as it comes; `Finished` is the last text's end, `Used` may follow it.

        Closing the iterator, or cancelling whoever reads it, closes the connection at once.

        Args:
            name: the model's public name.

        Raises:
            errors.Unavailable: the server cannot take the request now. Nothing was read of an answer.
            errors.Erred: the server failed; if nothing was read before, it may be asked again.
            errors.Refused: the server will not answer, or answered something that makes no sense.
        """
        ...
