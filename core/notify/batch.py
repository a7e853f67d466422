"""A batch of consecutive events of one response."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Batch:
    """Consecutive events of one response, frozen: resent, if at all, exactly as they are.

    Args:
        attempt: the writer's fence.
        first_seq: the sequence number of the first line.
        lines: the events, each as JSON text without a line break.
        tokens: of output in them, as far as the writer can tell.
    """

    response_id: str
    attempt: int
    first_seq: int
    lines: tuple[str, ...]
    tokens: int = 0

    @property
    def next_seq(self) -> int:
        return self.first_seq + len(self.lines)
