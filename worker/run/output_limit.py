"""Limits the size of a response's output, so that Postgres can write the end of the response within its timeouts."""

from collections.abc import Sequence

from core import jsonio
from core.jsonio import JsonObject

# Counted for each part and item in addition to its content: the events that open and close it.
_EVENTS_BYTES = 512


class OutputLimit:
    """Counts the bytes of the output of a response over all its attempts.

    Attributes:
        is_reached: whether the output has reached the limit; nothing more may be added.
        counted_bytes: size of the output of this attempt, at most up to the limit.
    """

    def __init__(self, limit_bytes: int, partial_output: Sequence[JsonObject] = ()) -> None:
        """Create the counter.

        Args:
            partial_output: the items that earlier attempts committed.
        """
        self._limit_bytes = limit_bytes
        self._remaining_bytes = limit_bytes - (len(jsonio.dumps(partial_output)) if partial_output else 0)
        self.is_reached = self._remaining_bytes <= 0
        self.counted_bytes = 0

    @property
    def cause(self) -> str:
        """The reason why the output ended, as a text for operators."""
        return f"the output reached the limit of {self._limit_bytes} bytes (BACKBURNER_OUTPUT_LIMIT_BYTES)"

    def cut_text(self, text: str) -> str:
        """Count a text; return as much of it as fits, without splitting a character."""
        content = text.encode(errors="surrogatepass")
        remaining_bytes = max(0, self._remaining_bytes)
        return text if self._count_bytes(len(content)) else content[:remaining_bytes].decode(errors="ignore")

    def try_add(self, *values: object) -> bool:
        """Count values that are stored as JSON, and the events around them; return whether they fit."""
        return self._count_bytes(_EVENTS_BYTES + sum(len(jsonio.dumps(value)) for value in values))

    def _count_bytes(self, size_bytes: int) -> bool:
        """Count `size_bytes` and return True if they fit; otherwise count only the bytes up to the limit."""
        if self.is_reached or size_bytes > self._remaining_bytes:
            self.counted_bytes += max(0, self._remaining_bytes)
            self.is_reached, self._remaining_bytes = True, 0
            return False
        self._remaining_bytes -= size_bytes
        self.counted_bytes += size_bytes
        return True
