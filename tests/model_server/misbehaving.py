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
    Case("ends without usage and without a terminator", lambda a: [SSE, hello(a), a.end(), CLOSE], completes()),
    Case(
        "ends its answer and keeps the connection open", lambda a: [CHUNKED, chunked(hello(a) + a.end())], completes()
    ),
    Case(
        "ends its answer and resets the connection",
        lambda a: [CHUNKED, chunked(hello(a) + a.end()), 0.2, Do.RESET],
        completes(),
    ),
    Case("breaks off its HTTP chunks after the end", lambda a: [CHUNKED, b"ffff\r\n", good(a), CLOSE], completes()),
    Case("ends its lines with CR LF", lambda a: [SSE, good(a).replace(b"\n", b"\r\n"), CLOSE], completes()),
    Case(
        "splits its JSON into several data lines",
        lambda a: [SSE, good(a).replace(b", ", b",\ndata: "), CLOSE],
        completes(),
    ),
    Case("sends no blank line between events", lambda a: [SSE, good(a).replace(b"\n\n", b"\n"), CLOSE], completes()),
    Case("sends no space after colons", lambda a: [SSE, good(a).replace(b"data: ", b"data:"), CLOSE], completes()),
    Case(
        "sends a byte order mark, comments, names and IDs",
        lambda a: [SSE, b"\xef\xbb\xbf" + COMMENTS + b"id: 1\nretry: 5\nevent: message\n" + good(a), CLOSE],
        completes(),
    ),
    Case(
        "sends single bytes",
        lambda a: [SSE, *(step for byte in good(a) for step in (bytes([byte]), 0.0005)), CLOSE],
        completes(),
    ),
    Case("sends empty chunks", lambda a: [SSE, a.empty() + good(a) + a.empty(), CLOSE], completes()),
    Case(
        "ignores that a stream was requested",
        lambda a: [sized(json.dumps(a.whole("Hello")).encode(), None, "Content-Type: application/json")],
        completes(),
    ),
    Case(
        "answers in one indented piece of JSON, as plain text",
        lambda a: [HEAD + b"\r\n", json.dumps(a.whole("Hello"), indent=2).encode(), CLOSE],
        completes(),
    ),
    Case(
        "compresses without being asked",
        lambda a: [sized(gzip.compress(good(a)), None, "Content-Encoding: gzip")],
        completes(),
    ),
    Case(
        "declares its stream as HTML",
        lambda a: [HEAD + b"Content-Type: text/html\r\n\r\n", good(a), CLOSE],
        completes(),
    ),
    Case("reports negative usage", lambda a: [SSE, hello(a), a.end(usage=a.usage(-1, -5)), CLOSE], completes()),
    Case("reports NaN as usage", lambda a: [SSE, hello(a), a.end(usage=a.usage(1, float("nan")))], completes()),
    Case(
        "reports absurdly large usage", lambda a: [SSE, hello(a), a.end(usage=a.usage(2**80, [])), CLOSE], completes()
    ),
    Case(
        "sends characters that Postgres cannot store",
        lambda a: [SSE, a.text("\0\n").replace(b'"\\u0000\\n"', SURROGATE), good(a), CLOSE],
        completes("\0\ufffdHello"),
    ),
    Case(
        "sends invalid UTF-8",
        lambda a: [SSE, a.text("!").replace(b"!", b"\xff"), good(a), CLOSE],
        completes("\ufffdHello"),
    ),
    Case(
        "sends early hints before its answer",
        lambda a: [b"HTTP/1.1 103 Early Hints\r\n\r\n" + SSE, good(a), CLOSE],
        completes(),
    ),
    Case("speaks HTTP/1.0", lambda a: [b"HTTP/1.0 200 OK\r\n\r\n", good(a), CLOSE], completes()),
    Case(
        "sends comments while the request waits", lambda a: [SSE, COMMENTS, 0.5, COMMENTS, good(a), CLOSE], completes()
    ),
    Case(
        "sends two megabytes in one line",
        lambda a: [SSE, a.text("x" * 2_000_000), a.end(), CLOSE],
        completes("x" * 2_000_000),
    ),
    chat_only(
        "continues after its finish reason",
        lambda a: [SSE, a.text("Hel"), a.end(), a.text("lo"), a.done],
        completes(),
    ),
    chat_only("ends without a finish reason", lambda a: [SSE, hello(a), a.done], completes()),
    chat_only(
        "numbers its tool calls with negative indexes",
        lambda a: [SSE, a.call(-7), a.end("tool_calls"), a.done],
        completes(""),
    ),
    chat_only("sends a finish reason and no output", lambda a: [SSE, a.end(), a.done], completes("")),
)

# No output, or an incomplete one.
FAILED = (
    Case(
        "answers 200 with an error",
        lambda _: [JSON, json.dumps({"error": {"message": "no GPU"}}).encode(), CLOSE],
        fails("no GPU", asked=3),
    ),
    Case(
        "sends an error in the middle",
        lambda a: [SSE, hello(a), data({"error": {"message": "no GPU", "code": 500}})],
        fails("no GPU", "Hello"),
    ),
    Case(
        "sends an error in the middle, as a string",
        lambda a: [SSE, hello(a), data({"error": "no GPU"})],
        fails("no GPU", "Hello"),
    ),
    Case(
        "sends an error event",
        lambda a: [SSE, hello(a), b'event: error\ndata: {"message": "no GPU"}\n\n'],
        fails("no GPU", "Hello"),
    ),
    Case(
        "sends a line with the field `error`",
        lambda a: [SSE, hello(a), b'error: {"message": "no GPU"}\n\n'],
        fails("no GPU", "Hello"),
    ),
    Case(
        "rejects the request within the stream",
        lambda _: [SSE, data({"error": {"message": "no", "type": "BadRequestError"}})],
        fails("no", code="invalid_prompt"),
    ),
    Case("reports a failure in the middle", lambda a: [SSE, hello(a), a.gives_up()], fails("aborted", "Hello")),
    Case(
        "answers with an HTML page", lambda _: [HEAD + b"Content-Type: text/html\r\n\r\n", HTML, CLOSE], fails("page")
    ),
    Case(
        "sends malformed JSON in the middle",
        lambda a: [SSE, hello(a), b"data: {garbage\n\n"],
        fails("not JSON", "Hello"),
    ),
    Case(
        "sends two JSON documents in one line", lambda a: [SSE, hello(a), b"data: {}{}\n\n"], fails("not JSON", "Hello")
    ),
    Case(
        "sends a JSON array instead of an object",
        lambda a: [SSE, hello(a), b"data: [1, 2]\n\n"],
        fails("something that is no", "Hello"),
    ),
    Case("sends deeply nested JSON", lambda a: [SSE, hello(a), DEEP], fails("not JSON", "Hello")),
    Case("closes the connection before its answer", lambda _: [CLOSE], fails("broke", asked=3)),
    Case("closes the connection after its headers", lambda _: [SSE, CLOSE], fails("closed the connection", asked=3)),
    Case(
        "closes the connection before the end",
        lambda a: [SSE, hello(a), CLOSE],
        fails("closed the connection", "Hello"),
    ),
    Case(
        "resets the connection before the end", lambda a: [SSE, hello(a), 0.2, Do.RESET], fails("connection", "Hello")
    ),
    Case(
        "breaks off its HTTP chunks",
        lambda a: [CHUNKED, chunked(hello(a)), b"ffff\r\nda", CLOSE],
        fails("broke", "Hello"),
    ),
    Case("sends less than its Content-Length", lambda a: [sized(hello(a), 9999), CLOSE], fails("broke", "Hello")),
    Case(
        "sends more than its Content-Length",
        lambda a: [sized(hello(a), len(hello(a))), 0.3, a.end()],
        fails("closed", "Hello"),
    ),
    Case("never answers", lambda _: [], fails("silent")),
    Case("sends only headers", lambda _: [SSE], fails("silent")),
    Case("sends comments forever", lambda _: [SSE, COMMENTS, Do.REPEAT], fails("silent")),
    Case("sends empty chunks forever", lambda a: [SSE, a.empty(), Do.REPEAT], fails("silent")),
    Case("falls silent in the middle", lambda a: [SSE, hello(a)], fails("silent", "Hello")),
    Case(
        "sends comments forever in the middle", lambda a: [SSE, hello(a), COMMENTS, Do.REPEAT], fails("silent", "Hello")
    ),
    Case("redirects", lambda _: [status("307 Temporary Redirect", b"", "Location: /elsewhere/v1")], fails("307")),
    Case("answers 204", lambda _: [status("204 No Content")], fails("204")),
    Case("answers 404", lambda _: [status("404 Not Found", HTML)], fails("404")),
    Case("rejects the key and quotes it", lambda _: [status("401 Unauthorized", SECRET)], fails("key")),
    Case("answers 500 with an HTML page", lambda _: [status("500 Internal Server Error", HTML)], fails("500", asked=3)),
    Case(
        "rejects the request and does not end its answer",
        lambda _: [status("422 No", b"x" * 50)[:-1]],
        fails("422", code="invalid_prompt"),
    ),
    Case(
        "rejects the request as too long",
        lambda _: [
            status("400 Bad Request", b'{"error":{"message":"This model\'s maximum context length is 8 tokens."}}')
        ],
        fails("context length", code="invalid_prompt"),
    ),
    Case("does not speak HTTP", lambda _: [b"SSH-2.0-OpenSSH_9.2\r\n"], fails("broke", asked=3)),
    Case("sends endless headers", lambda _: [HEAD, b"X: " + b"x" * 100_000, Do.REPEAT], fails("broke", asked=3)),
    Case("sends an endless line", lambda _: [SSE, b"data: " + b"x" * 1_000_000, Do.REPEAT], fails("too long")),
    Case("does not speak TLS", lambda _: [CLOSE], fails("TLS", asked=0), base_url="https://{raw}/{name}/v1"),
    Case(
        "calls too many tools",
        lambda a: [SSE, b"".join(a.call(n) for n in range(3000)), a.end()],
        fails("more tool calls"),
    ),
    Case("refuses connections", lambda _: [], fails("cannot be reached", asked=0), base_url="http://127.0.0.1:9/v1"),
    Case(
        "has an unresolvable name",
        lambda _: [],
        fails("cannot be reached", asked=0),
        base_url="http://nobody.invalid/v1",
    ),
    Case("is never ready", lambda _: [status("503 Service Unavailable", HTML)], fails("503", asked=None)),
    Case(
        "is always at capacity",
        lambda _: [status("429 Too Many Requests", b"", "Retry-After: 1")],
        fails("429", code="rate_limit_exceeded", asked=None),
    ),
    chat_only(
        "calls a tool without naming it",
        lambda a: [SSE, a.call(0, None), a.end("tool_calls"), a.done],
        fails("without naming it"),
    ),
    chat_only("ends the stream before any output", lambda a: [SSE, a.done], fails("closed", asked=3)),
)

CORPUS = (*UNDERSTOOD, *FAILED)
