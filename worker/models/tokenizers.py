"""Counts the tokens of a prompt on model servers that support it: `/tokenize` of vLLM and llama.cpp."""

from typing import Any

import aiohttp

from core.config.catalog import ModelConfig

_ANSWERS = (aiohttp.ClientError, TimeoutError, ValueError, TypeError, KeyError)
_WITHIN = aiohttp.ClientTimeout(total=30, sock_connect=5)
_VLLM, _LLAMA = "vllm", "llama.cpp"


class Tokenizers:
    """The tokenizers of model servers. The kind of each server is detected once and cached."""

    def __init__(self) -> None:
        self._kinds: dict[str, str | None] = {}

    async def count(self, model: ModelConfig, base_url: str, body: dict[str, Any]) -> tuple[int, int | None] | None:
        """Count the tokens of a prompt.

        Args:
            base_url: URL of the server, without a trailing slash.
            body: body of a Chat Completions request.

        Returns:
            The number of tokens, and the size of the model's context or None if unknown; None if the server did not
            count.
        """
        if base_url in self._kinds and self._kinds[base_url] is None:
            return None
        key = model.api_key()
        headers = {"Authorization": f"Bearer {key}"} if key else None
        root = base_url.removesuffix("/v1")
        try:
            async with aiohttp.ClientSession(root + "/", headers=headers, timeout=_WITHIN) as session:
                found = await self._count(session, base_url, body)
        except _ANSWERS:
            return None  # the failure may be temporary, so do not cache it
        if found is None:
            self._kinds[base_url] = None
            return None
        tokens, window = found
        return tokens, window or model.context_window

    async def _count(
        self, session: aiohttp.ClientSession, base_url: str, body: dict[str, Any]
    ) -> tuple[int, int | None] | None:
        kind = self._kinds.get(base_url)
        counters = {_VLLM: _of_vllm, _LLAMA: _of_llama}
        for name in [kind] if kind else counters:
            found = await counters[name](session, body)
            if found is not None:
                self._kinds[base_url] = name
                return found
        return None


async def _of_vllm(session: aiohttp.ClientSession, body: dict[str, Any]) -> tuple[int, int | None] | None:
    wanted = {name: body[name] for name in ("model", "messages", "tools") if name in body}
    found = await _post(session, "tokenize", wanted | {"add_generation_prompt": True})
    if found is None or not isinstance(found.get("count"), int):
        return None
    window = found.get("max_model_len")
    return found["count"], window if isinstance(window, int) else None


async def _of_llama(session: aiohttp.ClientSession, body: dict[str, Any]) -> tuple[int, int | None] | None:
    wanted: dict[str, Any] = {name: body[name] for name in ("messages", "tools") if name in body}
    written = await _post(session, "apply-template", wanted)
    if written is None or not isinstance(written.get("prompt"), str):
        return None
    text = {"content": written["prompt"], "add_special": True, "parse_special": True}
    found = await _post(session, "tokenize", text)
    if found is None or not isinstance(found.get("tokens"), list):
        return None
    async with session.get("props") as answer:
        props = await answer.json(content_type=None) if answer.status == 200 else None
    settings = props.get("default_generation_settings") if isinstance(props, dict) else None
    window = settings.get("n_ctx") if isinstance(settings, dict) else None
    return len(found["tokens"]), window if isinstance(window, int) and window > 0 else None


async def _post(session: aiohttp.ClientSession, path: str, body: dict[str, Any]) -> dict[str, Any] | None:
    """Return the JSON object of the answer, or None if the server does not have the path or rejects the request."""
    async with session.post(path, json=body) as answer:
        if answer.status >= 500:
            raise aiohttp.ClientError(f"{path} answered {answer.status}")
        found = await answer.json(content_type=None) if answer.status == 200 else None
        return found if isinstance(found, dict) else None
