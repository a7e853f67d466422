"""The client of model servers with the Chat Completions API: vLLM, SGLang, llama.cpp, Ollama, and hosted servers."""

from collections.abc import AsyncGenerator

import aiohttp

from core.config.catalog import ModelConfig
from core.runs.attempt import Attempt
from worker.models import http
from worker.models.chat_completions import request
from worker.models.chat_completions.chunks import ChunkReader
from worker.models.protocol import Output


class ChatCompletions:
    """Streams the answers of `POST {base_url}/chat/completions`."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    def stream(self, model: ModelConfig, attempt: Attempt, base_url: str) -> AsyncGenerator[Output]:
        """Send a request and yield the outputs of the answer. See `ModelServer.stream`."""
        name = model.upstream_model or attempt.model
        body = request.request_body(model, name, attempt.request, attempt.context, attempt.prefix)
        return http.stream_outputs(
            self._session,
            f"{base_url}/chat/completions",
            model,
            body,
            ChunkReader(model, attempt.request, is_continuation=bool(attempt.prefix)),
        )
