"""Making the context of one attempt fit its model: the oldest turns are dropped until the model server takes it."""

from dataclasses import replace
from itertools import accumulate

from core import errors, jsonio
from core.config.catalog import ModelConfig
from core.context import truncation
from core.runs.attempts import Attempt
from worker.models.chat_completions import request
from worker.models.tokenizers import Tokenizers


class ContextTrimmer:
    """What has been tried so far to make an attempt's context fit.

    Attributes:
        attempt: with what is left of its context.
    """

    def __init__(self, attempt: Attempt, model: ModelConfig, tokenizers: Tokenizers) -> None:
        self.attempt = attempt
        self._model = model
        self._tokenizers = tokenizers
        self._context = attempt.context
        self._cuts = [0]
        self._sizes: list[int] = []
        self._now = 0
        self._tried = 0

    async def shorten(self, error: errors.ContextExceeded, base_url: str) -> list[str] | None:
        """Drop more of the context, after a model server has found it too long; the IDs of all that is dropped.

        Nothing more is dropped, and None returned, where the request does not allow it, or the rest cannot be shorter.

        Args:
            base_url: of the server that has found it too long, without a slash at its end.
        """
        if self.attempt.request.truncation != "auto":
            return None
        if not self._sizes:
            self._cuts += truncation.cuts(self._context)
            sizes = [*accumulate(len(jsonio.dumps(item)) for item in reversed(self._context))][::-1]
            self._sizes = [sizes[place] for place in self._cuts]
        self._tried += 1
        found = await self._counted(error, base_url)
        if found is None:
            limit = error.limit or self._model.context_window
            found = truncation.next_cut(self._sizes, self._now, self._tried, tokens=error.tokens, limit=limit)
        if found is None or found >= len(self._cuts):
            return None
        self._now = found
        context, dropped = truncation.cut(self._context, self._cuts[found])
        self.attempt = replace(self.attempt, context=context)
        return dropped

    async def _counted(self, error: errors.ContextExceeded, base_url: str) -> int | None:
        """The first cut that fits as the server counts, or the number of cuts; None, if it does not count."""
        first, last = self._now + 1, len(self._cuts)
        while first < last:
            middle = (first + last) // 2
            fits = await self._fits(middle, error, base_url)
            if fits is None:
                return None
            first, last = (first, middle) if fits else (middle + 1, last)
        return first

    async def _fits(self, index: int, error: errors.ContextExceeded, base_url: str) -> bool | None:
        attempt = self.attempt
        context, _ = truncation.cut(self._context, self._cuts[index])
        name = self._model.upstream_model or attempt.model
        body = request.body(self._model, name, attempt.request, context, attempt.prefix)
        counted = await self._tokenizers.count(self._model, base_url, body)
        if counted is None:
            return None
        tokens, window = counted
        window = window or error.limit
        return None if window is None else tokens + (attempt.request.max_output_tokens or 1) <= window
