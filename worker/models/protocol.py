"""Model servers: what a run needs of one, whatever API it speaks."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any, Protocol

from core.config.catalog import ModelConfig
from core.runs.attempts import Attempt


@dataclass(slots=True)  # not frozen: there is one for each token, and that would cost twice as much
class TextDelta:
    """More of the answer's text.

    Args:
        logprobs: of its tokens, as the wire has them: `token`, `bytes`, `logprob`, `top_logprobs`.
        deltas: of the model server that it is made of.
    """

    text: str
    logprobs: tuple[dict[str, Any], ...] = ()
    deltas: int = 1


@dataclass(frozen=True)
class RefusalDelta:
    """More of the words in which the model refuses."""

    text: str


@dataclass(frozen=True)
class ReasoningDelta:
    """More of what the model thinks, in its own words."""

    text: str


@dataclass(frozen=True)
class SummaryDelta:
    """More of the model server's summary of what the model thinks."""

    text: str


@dataclass(frozen=True)
class Annotated:
    """A note on the text so far, such as a citation, as the wire has it."""

    annotation: dict[str, Any]


@dataclass(frozen=True)
class PartDone:
    """The part that grew last is whole: what comes is another, of the same item."""


@dataclass(frozen=True)
class ItemDone:
    """The item that grew last is whole: what comes is another.

    Args:
        encrypted_content: of a reasoning item, the model server's own, which it wants back in later turns.
    """

    encrypted_content: str | None = None


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


Output = (
    TextDelta
    | RefusalDelta
    | ReasoningDelta
    | SummaryDelta
    | Annotated
    | PartDone
    | ItemDone
    | Thinking
    | ToolCall
    | Finished
    | Used
)


class ModelServer(Protocol):
    """A client of model servers of one API."""

    def stream(self, model: ModelConfig, attempt: Attempt, base_url: str) -> AsyncGenerator[Output]:
        """The answer to an attempt's request, as it comes; `Finished` is the end of it.

        The first output comes as soon as the server has taken the request: `Thinking`, where there is no other yet.
        Closing the iterator, or cancelling whoever reads it, closes the connection at once.

        Args:
            base_url: one of `model.endpoints`.

        Raises:
            errors.Unreachable: nobody answers there.
            errors.Unavailable: the server cannot take the request now. Nothing was read of an answer.
            errors.Erred: the server failed; if nothing was read before, it may be asked again.
            errors.Silent: the server said nothing for too long.
            errors.Refused: the server will not answer, or answered something that makes no sense.
        """
        ...
