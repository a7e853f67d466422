"""Model servers: what a run needs of one, whatever API it speaks."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol

from core.attempts import Attempt
from core.catalog import ModelConfig


@dataclass(frozen=True)
class TextDelta:
    """More of the answer's text."""

    text: str


@dataclass(frozen=True)
class Thinking:
    """The model is at work on something that is not shown, or not yet."""


@dataclass(frozen=True)
class ToolCall:
    """A whole call of a tool.

    Args:
        call_id: the model server's, or empty.
        arguments: JSON text, as the model wrote it.
    """

    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True)
class Finished:
    """The model server said why it stopped.

    Args:
        reason: `stop`, `tool_calls`, `length` or `content_filter`; None where it ended properly without saying.
    """

    reason: str | None


@dataclass(frozen=True)
class Used:
    """The tokens the model server counted."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0


Output = TextDelta | Thinking | ToolCall | Finished | Used


class ModelServer(Protocol):
    """A client of model servers of one API."""

    def stream(self, model: ModelConfig, attempt: Attempt) -> AsyncGenerator[Output]:
        """The answer to an attempt's request, as it comes; `Finished` is the end of it, `Used` may follow.

        Closing the iterator, or cancelling whoever reads it, closes the connection at once.

        Raises:
            errors.Unavailable: the server cannot take the request now. Nothing was read of an answer.
            errors.Erred: the server failed; if nothing was read before, it may be asked again.
            errors.Refused: the server will not answer, or answered something that makes no sense.
        """
        ...
