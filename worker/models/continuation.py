"""Finds out whether a model server continues a partial answer, or starts a new one."""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import replace

from core.config.catalog import ModelConfig
from core.runs.attempt import Attempt
from core.wire.items import user_message
from core.wire.request import CreateResponse
from worker.models.protocol import ModelServer, ReasoningDelta, SummaryDelta, TextDelta

log = logging.getLogger(__name__)

# A request whose continuation is known: any model that continues the text writes the next number.
PROMPT = "Count from 1 to 20. Write only the numbers, separated by commas."
PREFIX = "1, 2, 3, 4, 5, 6,"
_NEXT_NUMBER = "7"
_MIN_OUTPUT_TOKENS = 16  # the minimum of the API
# After this time, another server may answer at the same URL.
_RESULT_TTL_S = 600.0

# The name and the configuration of a model, and a base URL: a reload may give the model another upstream model.
_ProbeKey = tuple[str, ModelConfig, str]


class ContinuationProbe:
    """Sends one small request per model and endpoint before the first continuation, and caches the result.

    A server that starts a new answer would repeat text that clients have already received, and the output alone does
    not show whether a few repeated words belong to the answer.
    """

    def __init__(self, servers: Mapping[str, ModelServer]) -> None:
        self._servers = servers
        # By key, whether the server continues a text, and when this result expires (monotonic clock).
        self._results: dict[_ProbeKey, tuple[bool, float]] = {}
        self._locks: defaultdict[_ProbeKey, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def continues_text(self, attempt: Attempt, model: ModelConfig, base_url: str) -> bool:
        """Return whether the server at an endpoint continues a partial answer of the attempt's model.

        Raises:
            errors.ModelServerError: the probe failed; see `ModelServer.stream`.
        """
        key = (attempt.model, model, base_url)
        async with self._locks[key]:
            continues, expires_at = self._results.get(key, (False, 0.0))
            if time.monotonic() >= expires_at:
                continues = await self._send_probe(attempt, model, base_url)
                self._results[key] = (continues, time.monotonic() + _RESULT_TTL_S)
                if not continues:
                    log.warning("model server does not continue text", extra={"model": attempt.model})
        return continues

    def forget(self, base_url: str) -> None:
        """Drop the results of an endpoint after a failure, because another server may answer next."""
        self._results = {
            (name, model, url): result for (name, model, url), result in self._results.items() if url != base_url
        }

    async def _send_probe(self, attempt: Attempt, model: ModelConfig, base_url: str) -> bool:
        request = CreateResponse.model_validate(
            {"model": attempt.model, "input": PROMPT, "max_output_tokens": _MIN_OUTPUT_TOKENS, "temperature": 0}
        )
        probe_attempt = replace(attempt, request=request, context=[user_message(PROMPT)], prefix=PREFIX)
        text = ""
        async with aclosing(self._servers[model.api].stream(model, probe_attempt, base_url)) as outputs:
            async for output in outputs:
                if isinstance(output, ReasoningDelta | SummaryDelta):
                    return False
                text += output.text if isinstance(output, TextDelta) else ""
                if text.strip():
                    break
        return text.lstrip().startswith(_NEXT_NUMBER)
