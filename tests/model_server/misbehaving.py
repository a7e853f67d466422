"""The corpus: errors and peculiarities of model servers, and how the response must end."""

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass

from tests.model_server.raw import Do, Script
from tests.model_server.wire import HEAD, JSON, SSE, Api, Chat, End, completes, data, fails, sized, status

CLOSE = Do.CLOSE
HTML = b"<!DOCTYPE html><html><body>Bad gateway</body></html>"
SECRET = json.dumps({"error": {"message": "Incorrect API key provided: sk-secret", "code": "invalid_api_key"}}).encode()


@dataclass(frozen=True)
class Case:
    """One kind of misbehavior.

    Args:
        does: description; together with the API it names the case.
        apis: the APIs to test it with.
        base_url: the configured URL of the server.
    """

    does: str
    script: Callable[[Api], Script]
    end: End
    apis: tuple[str, ...] = ("chat_completions", "responses")
    base_url: str = "http://{raw}/{name}/v1"


def hello(api: Api) -> bytes:
    return api.text("Hel") + api.text("lo")


def good(api: Api) -> bytes:
    return hello(api) + api.end() + api.done


def chunked(body: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(body), body)


def chat_only(does: str, script: Callable[[Chat], Script], end: End) -> Case:
    return Case(does, script, end, ("chat_completions",))  # type: ignore[arg-type]


COMMENTS = b": keep-alive\n\n"
CHUNKED = HEAD + b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
SURROGATE = b'"\\u0000\\ud83d"'
DEEP = b"data: " + b"[" * 100_000 + b"]" * 100_000 + b"\n\n"

# Unusual but valid outputs.
UNDERSTOOD = (
    Case("ends without usage and without a last word", lambda a: [SSE, hello(a), a.end(), CLOSE], completes()),
    Case("says that it ended and keeps the connection", lambda a: [CHUNKED, chunked(hello(a) + a.end())], completes()),
    Case("says that it ended and resets", lambda a: [CHUNKED, chunked(hello(a) + a.end()), 0.2, Do.RESET], completes()),
    Case("breaks off its chunks after the end", lambda a: [CHUNKED, b"ffff\r\n", good(a), CLOSE], completes()),
    Case("ends its lines with CR LF", lambda a: [SSE, good(a).replace(b"\n", b"\r\n"), CLOSE], completes()),
    Case("cuts its JSON into several lines", lambda a: [SSE, good(a).replace(b", ", b",\ndata: "), CLOSE], completes()),
    Case("puts no blank line between its events", lambda a: [SSE, good(a).replace(b"\n\n", b"\n"), CLOSE], completes()),
    Case("sends no space after its colons", lambda a: [SSE, good(a).replace(b"data: ", b"data:"), CLOSE], completes()),
    Case(
        "sends a byte order mark, comments, names and IDs",
        lambda a: [SSE, b"\xef\xbb\xbf" + COMMENTS + b"id: 1\nretry: 5\nevent: message\n" + good(a), CLOSE],
        completes(),
    ),
    Case(
        "sends byte by byte",
        lambda a: [SSE, *(step for byte in good(a) for step in (bytes([byte]), 0.0005)), CLOSE],
        completes(),
    ),
    Case("sends nothing that says something", lambda a: [SSE, a.empty() + good(a) + a.empty(), CLOSE], completes()),
    Case(
        "ignores that a stream was asked for",
        lambda a: [sized(json.dumps(a.whole("Hello")).encode(), None, "Content-Type: application/json")],
        completes(),
    ),
    Case(
        "answers in one piece, indented and as plain text",
        lambda a: [HEAD + b"\r\n", json.dumps(a.whole("Hello"), indent=2).encode(), CLOSE],
        completes(),
    ),
    Case(
        "compresses what was not to be",
        lambda a: [sized(gzip.compress(good(a)), None, "Content-Encoding: gzip")],
        completes(),
    ),
    Case("calls its stream a page", lambda a: [HEAD + b"Content-Type: text/html\r\n\r\n", good(a), CLOSE], completes()),
    Case("counts less than nothing", lambda a: [SSE, hello(a), a.end(usage=a.usage(-1, -5)), CLOSE], completes()),
    Case("counts what is no number", lambda a: [SSE, hello(a), a.end(usage=a.usage(1, float("nan")))], completes()),
    Case("counts more than there is", lambda a: [SSE, hello(a), a.end(usage=a.usage(2**80, [])), CLOSE], completes()),
    Case(
        "sends what no database keeps",
        lambda a: [SSE, a.text("\0\n").replace(b'"\\u0000\\n"', SURROGATE), good(a), CLOSE],
        completes("\0\ufffdHello"),
    ),
    Case(
        "sends bytes that are no UTF-8",
        lambda a: [SSE, a.text("!").replace(b"!", b"\xff"), good(a), CLOSE],
        completes("\ufffdHello"),
    ),
    Case(
        "gives hints before it answers",
        lambda a: [b"HTTP/1.1 103 Early Hints\r\n\r\n" + SSE, good(a), CLOSE],
        completes(),
    ),
    Case("speaks HTTP of long ago", lambda a: [b"HTTP/1.0 200 OK\r\n\r\n", good(a), CLOSE], completes()),
    Case("comments while the request waits", lambda a: [SSE, COMMENTS, 0.5, COMMENTS, good(a), CLOSE], completes()),
    Case(
        "sends two megabytes in a line",
        lambda a: [SSE, a.text("x" * 2_000_000), a.end(), CLOSE],
        completes("x" * 2_000_000),
    ),
    chat_only(
        "goes on after it said that it ended",
        lambda a: [SSE, a.text("Hel"), a.end(), a.text("lo"), a.done],
        completes(),
    ),
    chat_only("ends without a reason", lambda a: [SSE, hello(a), a.done], completes()),
    chat_only("numbers its calls from below", lambda a: [SSE, a.call(-7), a.end("tool_calls"), a.done], completes("")),
    chat_only("says nothing and stops", lambda a: [SSE, a.end(), a.done], completes("")),
)

# No output, or an incomplete one.
FAILED = (
    Case(
        "answers 200 and an error",
        lambda _: [JSON, json.dumps({"error": {"message": "no GPU"}}).encode(), CLOSE],
        fails("no GPU", asked=3),
    ),
    Case(
        "fails in the middle",
        lambda a: [SSE, hello(a), data({"error": {"message": "no GPU", "code": 500}})],
        fails("no GPU", "Hello"),
    ),
    Case(
        "fails in the middle in a word", lambda a: [SSE, hello(a), data({"error": "no GPU"})], fails("no GPU", "Hello")
    ),
    Case(
        "fails by the name of an event",
        lambda a: [SSE, hello(a), b'event: error\ndata: {"message": "no GPU"}\n\n'],
        fails("no GPU", "Hello"),
    ),
    Case(
        "fails by the name of a line",
        lambda a: [SSE, hello(a), b'error: {"message": "no GPU"}\n\n'],
        fails("no GPU", "Hello"),
    ),
    Case(
        "finds in the middle that the request is wrong",
        lambda _: [SSE, data({"error": {"message": "no", "type": "BadRequestError"}})],
        fails("no", code="invalid_prompt"),
    ),
    Case("gives up", lambda a: [SSE, hello(a), a.gives_up()], fails("aborted", "Hello")),
    Case("answers with a page", lambda _: [HEAD + b"Content-Type: text/html\r\n\r\n", HTML, CLOSE], fails("page")),
    Case("sends garbage in the middle", lambda a: [SSE, hello(a), b"data: {garbage\n\n"], fails("not JSON", "Hello")),
    Case("sends two documents in a line", lambda a: [SSE, hello(a), b"data: {}{}\n\n"], fails("not JSON", "Hello")),
    Case(
        "sends JSON of another kind",
        lambda a: [SSE, hello(a), b"data: [1, 2]\n\n"],
        fails("something that is no", "Hello"),
    ),
    Case("sends JSON without a bottom", lambda a: [SSE, hello(a), DEEP], fails("not JSON", "Hello")),
    Case("closes before it answers", lambda _: [CLOSE], fails("broke", asked=3)),
    Case("closes after its headers", lambda _: [SSE, CLOSE], fails("closed the connection", asked=3)),
    Case("closes before the end", lambda a: [SSE, hello(a), CLOSE], fails("closed the connection", "Hello")),
    Case("resets before the end", lambda a: [SSE, hello(a), 0.2, Do.RESET], fails("connection", "Hello")),
    Case(
        "breaks off its chunks", lambda a: [CHUNKED, chunked(hello(a)), b"ffff\r\nda", CLOSE], fails("broke", "Hello")
    ),
    Case("promises more than it sends", lambda a: [sized(hello(a), 9999), CLOSE], fails("broke", "Hello")),
    Case(
        "sends more than it promised",
        lambda a: [sized(hello(a), len(hello(a))), 0.3, a.end()],
        fails("closed", "Hello"),
    ),
    Case("answers nothing at all", lambda _: [], fails("silent")),
    Case("answers only headers", lambda _: [SSE], fails("silent")),
    Case("comments for ever", lambda _: [SSE, COMMENTS, Do.REPEAT], fails("silent")),
    Case("sends nothings for ever", lambda a: [SSE, a.empty(), Do.REPEAT], fails("silent")),
    Case("stops in the middle", lambda a: [SSE, hello(a)], fails("silent", "Hello")),
    Case("comments for ever in the middle", lambda a: [SSE, hello(a), COMMENTS, Do.REPEAT], fails("silent", "Hello")),
    Case("sends elsewhere", lambda _: [status("307 Temporary Redirect", b"", "Location: /elsewhere/v1")], fails("307")),
    Case("answers that there is nothing", lambda _: [status("204 No Content")], fails("204")),
    Case("answers that it is nowhere", lambda _: [status("404 Not Found", HTML)], fails("404")),
    Case("refuses the key and quotes it", lambda _: [status("401 Unauthorized", SECRET)], fails("key")),
    Case("fails with a page", lambda _: [status("500 Internal Server Error", HTML)], fails("500", asked=3)),
    Case(
        "finds the request wrong and does not end its answer",
        lambda _: [status("422 No", b"x" * 50)[:-1]],
        fails("422", code="invalid_prompt"),
    ),
    Case(
        "finds the request too long",
        lambda _: [
            status("400 Bad Request", b'{"error":{"message":"This model\'s maximum context length is 8 tokens."}}')
        ],
        fails("context length", code="invalid_prompt"),
    ),
    Case("does not speak HTTP", lambda _: [b"SSH-2.0-OpenSSH_9.2\r\n"], fails("broke", asked=3)),
    Case("sends headers without an end", lambda _: [HEAD, b"X: " + b"x" * 100_000, Do.REPEAT], fails("broke", asked=3)),
    Case("sends a line without an end", lambda _: [SSE, b"data: " + b"x" * 1_000_000, Do.REPEAT], fails("too long")),
    Case("does not speak TLS", lambda _: [CLOSE], fails("TLS", asked=0), base_url="https://{raw}/{name}/v1"),
    Case(
        "calls more tools than anybody has",
        lambda a: [SSE, b"".join(a.call(n) for n in range(3000)), a.end()],
        fails("more tool calls"),
    ),
    Case("is nowhere", lambda _: [], fails("cannot be reached", asked=0), base_url="http://127.0.0.1:9/v1"),
    Case("has no address", lambda _: [], fails("cannot be reached", asked=0), base_url="http://nobody.invalid/v1"),
    Case("is never ready", lambda _: [status("503 Service Unavailable", HTML)], fails("503", asked=None)),
    Case(
        "never has room",
        lambda _: [status("429 Too Many Requests", b"", "Retry-After: 1")],
        fails("429", code="rate_limit_exceeded", asked=None),
    ),
    chat_only(
        "calls nothing", lambda a: [SSE, a.call(0, None), a.end("tool_calls"), a.done], fails("without naming it")
    ),
    chat_only("ends before it began", lambda a: [SSE, a.done], fails("closed", asked=3)),
)

CORPUS = (*UNDERSTOOD, *FAILED)
