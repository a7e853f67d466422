"""Counts the tokens of a prompt on model servers that can tokenize it: vLLM and llama.cpp."""

import aiohttp

from core.config.catalog import ModelConfig
from core.jsonio import JsonObject
from core.runs.attempt import Attempt
from worker.models.apis import authorization
from worker.models.chat_completions.request import request_body

_TEMPORARY_ERRORS = (aiohttp.ClientError, TimeoutError, ValueError, TypeError, KeyError)
_TIMEOUT = aiohttp.ClientTimeout(total=30, sock_connect=5)
_VLLM, _LLAMA = "vllm", "llama.cpp"


class Tokenizers:
    """The tokenizers of model servers. The kind of each server is detected once per configuration of a model."""

    def __init__(self) -> None:
        self._server_kinds: dict[tuple[str, ModelConfig], str | None] = {}  # None: the server cannot count tokens

    async def count(self, model: ModelConfig, base_url: str, attempt: Attempt) -> tuple[int, int | None] | None:
        """Count the tokens of an attempt's prompt.

        The servers tokenize Chat Completions messages, whichever API the model is configured with.

        Args:
            base_url: URL of the server, without a trailing slash.

        Returns:
            The number of tokens and the size of the model's context; the size is None if it is unknown. If the server
            cannot count tokens, the result is None instead of this pair.
        """
        server = base_url, model
        if server in self._server_kinds and self._server_kinds[server] is None:
            return None
        name = model.upstream_model or attempt.model
        body = request_body(model, name, attempt.request, attempt.context, attempt.prefix)
        root = base_url.removesuffix("/v1")
        try:
            async with aiohttp.ClientSession(root + "/", headers=authorization(model), timeout=_TIMEOUT) as session:
                result = await self._count_tokens(session, server, body)
        except _TEMPORARY_ERRORS:
            return None  # the failure may be temporary, so do not cache it
        if result is None:
            self._server_kinds[server] = None
            return None
        tokens, window = result
        return tokens, window or model.context_window

    async def _count_tokens(
        self, session: aiohttp.ClientSession, server: tuple[str, ModelConfig], body: JsonObject
    ) -> tuple[int, int | None] | None:
        kind = self._server_kinds.get(server)
        counters = {_VLLM: _count_on_vllm, _LLAMA: _count_on_llama}
        for server_kind in [kind] if kind else counters:
            result = await counters[server_kind](session, body)
            if result is not None:
                self._server_kinds[server] = server_kind
                return result
        return None


async def _count_on_vllm(session: aiohttp.ClientSession, body: JsonObject) -> tuple[int, int | None] | None:
    request_fields = {name: body[name] for name in ("model", "messages", "tools") if name in body}
    result = await _post_json(session, "tokenize", request_fields | {"add_generation_prompt": True})
    if result is None or not isinstance(result.get("count"), int):
        return None
    window = result.get("max_model_len")
    return result["count"], window if isinstance(window, int) else None


async def _count_on_llama(session: aiohttp.ClientSession, body: JsonObject) -> tuple[int, int | None] | None:
    request_fields: JsonObject = {name: body[name] for name in ("messages", "tools") if name in body}
    template_result = await _post_json(session, "apply-template", request_fields)
    if template_result is None or not isinstance(template_result.get("prompt"), str):
        return None
    tokenize_fields = {"content": template_result["prompt"], "add_special": True, "parse_special": True}
    result = await _post_json(session, "tokenize", tokenize_fields)
    if result is None or not isinstance(result.get("tokens"), list):
        return None
    async with session.get("props") as answer:
        props = await answer.json(content_type=None) if answer.status == 200 else None
    settings = props.get("default_generation_settings") if isinstance(props, dict) else None
    window = settings.get("n_ctx") if isinstance(settings, dict) else None
    return len(result["tokens"]), window if isinstance(window, int) and window > 0 else None


async def _post_json(session: aiohttp.ClientSession, path: str, body: JsonObject) -> JsonObject | None:
    """Return the JSON object of the answer, or None if the server rejects the request or does not know the path."""
    async with session.post(path, json=body) as answer:
        if answer.status >= 500:
            raise aiohttp.ClientError(f"{path} answered {answer.status}")
        result = await answer.json(content_type=None) if answer.status == 200 else None
        return result if isinstance(result, dict) else None
