"""Model servers that speak the Responses API themselves."""

from collections.abc import AsyncGenerator

import aiohttp

from core.attempts import Attempt
from core.catalog import ModelConfig
from worker.model_servers import Output, http, responses_request
from worker.model_servers.responses_events import Events


class Responses:
    """Streams `POST {base_url}/responses`; nothing is stored there."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    def stream(self, model: ModelConfig, attempt: Attempt, base_url: str) -> AsyncGenerator[Output]:
        """The answer to a request, as it comes. See `ModelServer.stream`."""
        name = model.upstream_model or attempt.model
        body = responses_request.body(model, name, attempt.request, attempt.context)
        return http.ask(self._session, f"{base_url}/responses", model, body, Events(attempt.request))
