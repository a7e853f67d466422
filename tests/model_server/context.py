"""A context window counted in words: longer requests are refused as real servers do, and two kinds of servers count."""

from typing import Any

from aiohttp import web

from tests.model_server.script import Script, script_for, text_of

WINDOW = web.AppKey("window", dict[str, int])

# The errors of vLLM, of llama.cpp, and of a server that reports no numbers.
SAID: dict[str, dict[str, Any]] = {
    "vllm": {
        "message": "This model's maximum context length is {limit} tokens. However, you requested {words} tokens in "
        "the messages, Please reduce the length of the messages.",
        "type": "BadRequestError",
        "param": None,
        "code": 400,
    },
    "llama.cpp": {
        "message": "the request exceeds the available context size, try increasing it",
        "type": "exceed_context_size_error",
        "code": 400,
    },
    "no numbers": {"message": "Input is too long for requested model.", "type": "invalid_request_error"},
}


def words_of(messages: list[dict[str, Any]]) -> int:
    return sum(len(text_of(message).split()) for message in messages)


def refused(script: Script, body: dict[str, Any]) -> web.Response | None:
    """The error reply for a request longer than the script's context; None if it fits."""
    limit, words = script.context, words_of(body["messages"]) + (body.get("max_tokens") or 0)
    if limit is None or words <= limit:
        return None
    said = dict(SAID[script.context_error])
    said["message"] = said["message"].format(limit=limit, words=words)
    if script.context_error == "llama.cpp":
        said |= {"n_prompt_tokens": words, "n_ctx": limit}
    return web.json_response({"error": said}, status=400)


async def tokenize(request: web.Request) -> web.Response:
    """The tokenizers of vLLM (messages) and llama.cpp (text), each only if the script selects it."""
    body = await request.json()
    if "content" in body:
        return web.json_response({"tokens": list(range(len(body["content"].split())))})
    script = script_for(body.get("messages", []))
    if script.tokenizer == "llama.cpp":
        return web.json_response({"tokens": []})  # llama.cpp's reply to a request without content
    if script.tokenizer != "vllm":
        raise web.HTTPNotFound
    words = words_of(body["messages"])
    return web.json_response({"count": words, "max_model_len": script.context, "tokens": list(range(words))})


async def apply_template(request: web.Request) -> web.Response:
    messages = (await request.json())["messages"]
    script = script_for(messages)
    if script.tokenizer != "llama.cpp":
        raise web.HTTPNotFound
    request.app[WINDOW]["n_ctx"] = script.context or 0
    return web.json_response({"prompt": "\n".join(text_of(message) for message in messages)})


async def props(request: web.Request) -> web.Response:
    return web.json_response({"default_generation_settings": {"n_ctx": request.app[WINDOW].get("n_ctx", 0)}})


ROUTES = (
    web.post("/tokenize", tokenize),
    web.post("/apply-template", apply_template),
    web.get("/props", props),
)
