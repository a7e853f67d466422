"""A batch of consecutive events of one response."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Batch:
    """Consecutive events of one response; immutable, so that a retry writes exactly the same events.

    Args:
        attempt: the attempt number of the writer, which is its fence.
        first_seq: the sequence number of the first event.
        lines: the events, each as JSON text without line breaks.
        tokens: approximate number of output tokens in these events.
    """

    response_id: str
    attempt: int
    first_seq: int
    lines: tuple[str, ...]
    tokens: int = 0

    @property
    def next_seq(self) -> int:
        return self.first_seq + len(self.lines)
