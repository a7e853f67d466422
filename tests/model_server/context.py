"""Imitates a context window, measured in words, with the error replies and tokenization endpoints of real servers."""

from typing import Any

from aiohttp import web

from tests.model_server.script import Script, read_script, read_text

WINDOW = web.AppKey("window", dict[str, int])  # contains the `n_ctx` that llama.cpp reports

# The errors of vLLM, of llama.cpp, and of a server that reports no numbers, by the script field `context_error`.
CONTEXT_ERRORS: dict[str, dict[str, Any]] = {
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


def count_words(messages: list[dict[str, Any]]) -> int:
    return sum(len(read_text(message).split()) for message in messages)


def build_context_error(script: Script, body: dict[str, Any]) -> web.Response | None:
    """Return the error reply to a request that exceeds the context of the script, or None if it fits."""
    limit, word_count = script.context, count_words(body["messages"]) + (body.get("max_tokens") or 0)
    if limit is None or word_count <= limit:
        return None
    error = dict(CONTEXT_ERRORS[script.context_error])
    error["message"] = error["message"].format(limit=limit, words=word_count)
    if script.context_error == "llama.cpp":
        error |= {"n_prompt_tokens": word_count, "n_ctx": limit}
    return web.json_response({"error": error}, status=400)


async def tokenize(request: web.Request) -> web.Response:
    """Tokenize a text as llama.cpp does, or messages as vLLM does if their script selects its tokenizer."""
    body = await request.json()
    if "content" in body:
        return web.json_response({"tokens": list(range(len(body["content"].split())))})
    script = read_script(body.get("messages", []))
    if script.tokenizer == "llama.cpp":
        return web.json_response({"tokens": []})  # the reply of llama.cpp to a request without content
    if script.tokenizer != "vllm":
        raise web.HTTPNotFound
    word_count = count_words(body["messages"])
    return web.json_response({"count": word_count, "max_model_len": script.context, "tokens": list(range(word_count))})


async def apply_template(request: web.Request) -> web.Response:
    """Return the prompt for messages, as llama.cpp does, if their script selects its tokenizer."""
    messages = (await request.json())["messages"]
    script = read_script(messages)
    if script.tokenizer != "llama.cpp":
        raise web.HTTPNotFound
    request.app[WINDOW]["n_ctx"] = script.context or 0
    return web.json_response({"prompt": "\n".join(read_text(message) for message in messages)})


async def report_properties(request: web.Request) -> web.Response:
    """Return the size of the context window, as llama.cpp does."""
    return web.json_response({"default_generation_settings": {"n_ctx": request.app[WINDOW].get("n_ctx", 0)}})


ROUTES = (
    web.post("/tokenize", tokenize),
    web.post("/apply-template", apply_template),
    web.get("/props", report_properties),
)
