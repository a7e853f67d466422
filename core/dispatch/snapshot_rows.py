"""Value types for the rows of a snapshot: occupied slots, live workers and open circuits."""

from collections.abc import Mapping
from dataclasses import dataclass

from core.dispatch.situation import CandidateGroup


@dataclass(frozen=True)
class Occupancy:
    """The number of responses of a group that one worker runs or, without `worker_id`, that no worker has claimed."""

    group: CandidateGroup
    worker_id: str | None
    count: int


@dataclass(frozen=True)
class LiveWorker:
    """A worker that was seen within `worker_seen_s` seconds.

    Args:
        slots: the number of responses that the worker runs at once; 0 while it drains.
        concurrency: the models that the worker knows, each with its limit of running responses or None. None instead of
            a mapping: the worker does not publish its models, and dispatch assumes that it knows every model.
    """

    id: str
    hostname: str
    pid: int
    lanes: frozenset[str]
    slots: int
    concurrency: Mapping[str, int | None] | None = None

    def knows_model(self, model: str) -> bool:
        """Whether the worker can run responses of a model."""
        return self.concurrency is None or model in self.concurrency

    @property
    def is_draining(self) -> bool:
        """Whether the worker was stopped: it claims no more responses, and exits when its last one has ended."""
        return self.slots == 0


@dataclass(frozen=True)
class OpenCircuit:
    """The open or half-open circuit of a model whose servers are all unavailable.

    Args:
        is_probing: whether a response that probes the servers is dispatched or running.
        remaining_s: seconds until the next probe may be dispatched; at most 0 if the circuit is half-open.
        failures: the number of times that the circuit has been opened since it was last closed.
        cause: the last error of the model server.
    """

    is_probing: bool
    remaining_s: float
    failures: int
    cause: str

    @property
    def may_probe(self) -> bool:
        """Whether one response may be dispatched now, to probe the servers."""
        return self.remaining_s <= 0 and not self.is_probing

    @property
    def next_probe(self) -> str:
        """The time of the next probe, as text for operators."""
        if self.is_probing:
            return "running"
        return f"in {self.remaining_s:.1f} s" if self.remaining_s > 0 else "due"
