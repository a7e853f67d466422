"""The client of model servers with the Responses API."""

from collections.abc import AsyncGenerator

import aiohttp

from core.config.catalog import ModelConfig
from core.runs.attempt import Attempt
from worker.models import http
from worker.models.protocol import Output
from worker.models.responses import request
from worker.models.responses.events import EventReader


class Responses:
    """Streams the answers of `POST {base_url}/responses`; the model server stores nothing."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    def stream(self, model: ModelConfig, attempt: Attempt, base_url: str) -> AsyncGenerator[Output]:
        """Send a request and yield the outputs of the answer. See `ModelServer.stream`."""
        name = model.upstream_model or attempt.model
        body = request.request_body(model, name, attempt.request, attempt.context)
        return http.stream_outputs(self._session, f"{base_url}/responses", model, body, EventReader(attempt.request))
