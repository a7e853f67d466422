"""Context trimming for `truncation: auto`: drops the oldest turns until the model server accepts the context."""

from dataclasses import replace
from itertools import accumulate

from core import errors, jsonio
from core.config.catalog import ModelConfig
from core.context import truncation
from core.runs.attempts import Attempt
from worker.models.chat_completions import request
from worker.models.tokenizers import Tokenizers


class ContextTrimmer:
    """Trims the context of one attempt until it fits its model.

    Attributes:
        attempt: the attempt with its remaining context.
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
        """Drop more of the context after a model server has rejected it as too long.

        Args:
            error: the error of the model server.
            base_url: URL of the server that rejected it, without a trailing slash.

        Returns:
            The IDs of all items dropped so far, or None if nothing more was dropped, because the request does not allow
            it or the context cannot be shortened further.
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
        """Return the first cut that fits by the server's token count, else the number of cuts; None without a count."""
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
