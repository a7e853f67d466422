"""An attempt to run a response, and the request of a worker to hand a response back."""

from dataclasses import dataclass

from core.wire import Item
from core.wire.request import CreateResponse
from core.wire.transcript import Transcript


@dataclass(frozen=True)
class Attempt:
    """One attempt to run a response; it belongs to one worker until its lease expires.

    Attributes:
        number: the attempt number, which is the fence: every write of the attempt contains it.
        context: all input items of the model call, in order. Large images and files are references, which `contents`
            resolves; reasoning items are decrypted.
        document: the response object as JSON text, as of its creation; large fields are references.
        remaining_s: seconds until `run_until`.
        next_seq: the first free sequence number of the event log.
        has_in_progress_event: whether an earlier attempt wrote `response.in_progress`.
        partial_output: the output that earlier attempts committed; reasoning items are decrypted.
        partial_output_tokens: approximate number of output tokens in `partial_output`.
        wait_count: how often the response was put back in the queue because its model server could not accept it.
        probe: whether this attempt is the probe of its model's circuit.
        prefix: the text of earlier attempts that the model server must continue; empty if it must start a new text.
        packed_request: the stored request, if `request` and `context` do not have its large fields yet.
    """

    response_id: str
    project_id: str
    number: int
    model: str
    request: CreateResponse
    context: list[Item]
    document: str
    remaining_s: float
    next_seq: int
    has_in_progress_event: bool
    partial_output: Transcript
    partial_output_tokens: int
    wait_count: int
    probe: bool = False
    prefix: str = ""
    packed_request: str | None = None

    @property
    def has_output(self) -> bool:
        """Whether an earlier attempt committed output."""
        return bool(self.partial_output.output)


@dataclass(frozen=True)
class HandBack:
    """A worker's request to put an unfinished response back in the queue.

    Args:
        cause: a sentence for operators, and for the client if the response's deadline passes before another attempt.
        awaits_server: whether the response waits for its model server; if not, the worker had to stop running it.
        delay_s: seconds before the response may be dispatched again; ignored if `unavailable`.
        error_code: the API's error code for `cause`.
        unavailable: whether the model server accepts no requests at all. If so, the model's circuit opens, which
            delays all responses of the model.
        requested_delay_s: minimum seconds before the next request, as requested by the model server.
    """

    cause: str
    awaits_server: bool = False
    delay_s: float = 0
    error_code: str | None = None
    unavailable: bool = False
    requested_delay_s: float = 0


def log_has_in_progress(background: bool, next_seq: int) -> bool:
    """Whether a log of this length contains `response.in_progress`.

    That event follows `response.created` and, if `background`, `response.queued`.
    """
    return next_seq > (2 if background else 1)


def log_has_output(background: bool, next_seq: int) -> bool:
    """Whether a log of this length contains output, which starts after `response.in_progress`."""
    return next_seq > (3 if background else 2)
