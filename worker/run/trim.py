"""Context trimming for `truncation: auto`: drops the oldest turns until the context fits the model."""

from dataclasses import replace
from itertools import accumulate

from core import errors, jsonio
from core.config.catalog import ModelConfig
from core.context import truncation
from core.runs.attempt import Attempt
from worker.models.tokenizers import Tokenizers


class ContextTrimmer:
    """Trims the context of one attempt until the context fits the model.

    Attributes:
        attempt: the attempt with its remaining context.
    """

    def __init__(self, attempt: Attempt, model: ModelConfig, tokenizers: Tokenizers) -> None:
        self.attempt = attempt
        self._model = model
        self._tokenizers = tokenizers
        self._context = attempt.context
        self._cuts = [0]  # positions in the context at which it may begin
        self._sizes: list[int] = []  # size of the context after each cut, in characters
        self._cut_index = 0  # index of the current cut in `_cuts`
        self._trim_count = 0

    async def trim_context(self, error: errors.ContextExceeded, base_url: str) -> list[str] | None:
        """Drop more turns after a model server has rejected the context as too long.

        Args:
            error: the error of the model server.
            base_url: URL of the model server, without a trailing slash.

        Returns:
            The IDs of all dropped items; None if no more turns can be dropped or the request does not allow it.
        """
        if self.attempt.request.truncation != "auto":
            return None
        if not self._sizes:
            self._cuts += truncation.cuts(self._context)
            sizes_from_end = list(accumulate(len(jsonio.dumps(item)) for item in reversed(self._context)))
            self._sizes = [sizes_from_end[-1 - cut] for cut in self._cuts]
        self._trim_count += 1
        cut_index = await self._find_sufficient_cut(error, base_url)
        if cut_index is None:
            limit = error.limit or self._model.context_window
            cut_index = truncation.next_cut(
                self._sizes, self._cut_index, self._trim_count, tokens=error.tokens, limit=limit
            )
        if cut_index is None or cut_index >= len(self._cuts):
            return None
        self._cut_index = cut_index
        context, dropped_ids = truncation.cut(self._context, self._cuts[cut_index])
        self.attempt = replace(self.attempt, context=context)
        return dropped_ids

    async def _find_sufficient_cut(self, error: errors.ContextExceeded, base_url: str) -> int | None:
        """Find the first cut with a context that fits, by binary search with the server's tokenizer.

        Returns:
            The index of the cut; the number of cuts if none fits; None if the server does not count tokens.
        """
        first, last = self._cut_index + 1, len(self._cuts)
        while first < last:
            middle = (first + last) // 2
            fits = await self._does_context_fit(middle, error, base_url)
            if fits is None:
                return None
            first, last = (first, middle) if fits else (middle + 1, last)
        return first

    async def _does_context_fit(self, cut_index: int, error: errors.ContextExceeded, base_url: str) -> bool | None:
        """Return whether the context after the cut fits; None if the token count or the limit is unknown."""
        attempt = self.attempt
        context, _ = truncation.cut(self._context, self._cuts[cut_index])
        count = await self._tokenizers.count(self._model, base_url, replace(attempt, context=context))
        if count is None:
            return None
        tokens, window = count
        window = window or error.limit
        return None if window is None else tokens + (attempt.request.max_output_tokens or 1) <= window
