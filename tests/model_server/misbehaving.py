"""The corpus of misbehaving model servers: scripts for the raw server, and the expected end of the response."""

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass

from tests.model_server.raw import Action, RawScript
from tests.model_server.wire import (
    HEAD,
    JSON,
    SSE,
    Api,
    Chat,
    ExpectedEnd,
    data_line,
    error_reply,
    failure,
    reply,
    success,
)

CLOSE = Action.CLOSE
HTML_PAGE = b"<!DOCTYPE html><html><body>Bad gateway</body></html>"
API_KEY_ERROR = json.dumps(
    {"error": {"message": "Incorrect API key provided: sk-secret", "code": "invalid_api_key"}}
).encode()


@dataclass(frozen=True)
class Case:
    """One kind of misbehavior of a model server.

    Args:
        behavior: description that is unique in the corpus.
        script: function that returns the script of the raw server for an API.
        end: the expected end of the response.
        apis: names of the APIs with which to test the case.
        base_url: template of the URL of the server, with the placeholders `raw` (host and port) and `name`.
    """

    behavior: str
    script: Callable[[Api], RawScript]
    end: ExpectedEnd
    apis: tuple[str, ...] = ("chat_completions", "responses")
    base_url: str = "http://{raw}/{name}/v1"


def hello_events(api: Api) -> bytes:
    return api.text_event("Hel") + api.text_event("lo")


def complete_answer(api: Api) -> bytes:
    return hello_events(api) + api.end() + api.terminator


def http_chunk(body: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(body), body)


def chat_case(behavior: str, script: Callable[[Chat], RawScript], end: ExpectedEnd) -> Case:
    return Case(behavior, script, end, ("chat_completions",))  # type: ignore[arg-type]


COMMENT = b": keep-alive\n\n"
CHUNKED_HEAD = HEAD + b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
UNSTORABLE_STRING = b'"\\u0000\\ud83d"'
DEEP_NESTING = b"data: " + b"[" * 100_000 + b"]" * 100_000 + b"\n\n"

# Outputs that are unusual but valid.
VALID_CASES = (
    Case("ends without usage and without a terminator", lambda a: [SSE, hello_events(a), a.end(), CLOSE], success()),
    Case(
        "ends its answer and keeps the connection open",
        lambda a: [CHUNKED_HEAD, http_chunk(hello_events(a) + a.end())],
        success(),
    ),
    Case(
        "ends its answer and resets the connection",
        lambda a: [CHUNKED_HEAD, http_chunk(hello_events(a) + a.end()), 0.2, Action.RESET],
        success(),
    ),
    Case(
        "breaks off its HTTP chunks after the end",
        lambda a: [CHUNKED_HEAD, b"ffff\r\n", complete_answer(a), CLOSE],
        success(),
    ),
    Case("ends its lines with CR LF", lambda a: [SSE, complete_answer(a).replace(b"\n", b"\r\n"), CLOSE], success()),
    Case(
        "splits its JSON into several data lines",
        lambda a: [SSE, complete_answer(a).replace(b", ", b",\ndata: "), CLOSE],
        success(),
    ),
    Case(
        "sends no blank line between events",
        lambda a: [SSE, complete_answer(a).replace(b"\n\n", b"\n"), CLOSE],
        success(),
    ),
    Case(
        "sends no space after colons",
        lambda a: [SSE, complete_answer(a).replace(b"data: ", b"data:"), CLOSE],
        success(),
    ),
    Case(
        "sends a byte order mark, comments, names and IDs",
        lambda a: [SSE, b"\xef\xbb\xbf" + COMMENT + b"id: 1\nretry: 5\nevent: message\n" + complete_answer(a), CLOSE],
        success(),
    ),
    Case(
        "sends single bytes",
        lambda a: [SSE, *(step for byte in complete_answer(a) for step in (bytes([byte]), 0.0005)), CLOSE],
        success(),
    ),
    Case(
        "sends empty chunks",
        lambda a: [SSE, a.empty_events() + complete_answer(a) + a.empty_events(), CLOSE],
        success(),
    ),
    Case(
        "ignores that a stream was requested",
        lambda a: [reply(json.dumps(a.document("Hello")).encode(), None, "Content-Type: application/json")],
        success(),
    ),
    Case(
        "answers in one indented piece of JSON, as plain text",
        lambda a: [HEAD + b"\r\n", json.dumps(a.document("Hello"), indent=2).encode(), CLOSE],
        success(),
    ),
    Case(
        "compresses without being asked",
        lambda a: [reply(gzip.compress(complete_answer(a)), None, "Content-Encoding: gzip")],
        success(),
    ),
    Case(
        "declares its stream as HTML",
        lambda a: [HEAD + b"Content-Type: text/html\r\n\r\n", complete_answer(a), CLOSE],
        success(),
    ),
    Case("reports negative usage", lambda a: [SSE, hello_events(a), a.end(usage=a.usage(-1, -5)), CLOSE], success()),
    Case("reports NaN as usage", lambda a: [SSE, hello_events(a), a.end(usage=a.usage(1, float("nan")))], success()),
    Case(
        "reports absurdly large usage",
        lambda a: [SSE, hello_events(a), a.end(usage=a.usage(2**80, [])), CLOSE],
        success(),
    ),
    Case(
        "sends characters that Postgres cannot store",
        lambda a: [SSE, a.text_event("\0\n").replace(b'"\\u0000\\n"', UNSTORABLE_STRING), complete_answer(a), CLOSE],
        success("\0\ufffdHello"),
    ),
    Case(
        "sends invalid UTF-8",
        lambda a: [SSE, a.text_event("!").replace(b"!", b"\xff"), complete_answer(a), CLOSE],
        success("\ufffdHello"),
    ),
    Case(
        "sends early hints before its answer",
        lambda a: [b"HTTP/1.1 103 Early Hints\r\n\r\n" + SSE, complete_answer(a), CLOSE],
        success(),
    ),
    Case("speaks HTTP/1.0", lambda a: [b"HTTP/1.0 200 OK\r\n\r\n", complete_answer(a), CLOSE], success()),
    Case(
        "sends comments while the request waits",
        lambda a: [SSE, COMMENT, 0.5, COMMENT, complete_answer(a), CLOSE],
        success(),
    ),
    Case(
        "sends two megabytes in one line",
        lambda a: [SSE, a.text_event("x" * 2_000_000), a.end(), CLOSE],
        success("x" * 2_000_000),
    ),
    chat_case(
        "continues after its finish reason",
        lambda a: [SSE, a.text_event("Hel"), a.end(), a.text_event("lo"), a.terminator],
        success(),
    ),
    chat_case("ends without a finish reason", lambda a: [SSE, hello_events(a), a.terminator], success()),
    chat_case(
        "numbers its tool calls with negative indexes",
        lambda a: [SSE, a.tool_call(-7), a.end("tool_calls"), a.terminator],
        success(""),
    ),
    chat_case("sends a finish reason and no output", lambda a: [SSE, a.end(), a.terminator], success("")),
)

# Errors, and outputs that are missing, incomplete or invalid.
FAILING_CASES = (
    Case(
        "answers 200 with an error",
        lambda _: [JSON, json.dumps({"error": {"message": "no GPU"}}).encode(), CLOSE],
        failure("no GPU", requests=3),
    ),
    Case(
        "sends an error in the middle",
        lambda a: [SSE, hello_events(a), data_line({"error": {"message": "no GPU", "code": 500}})],
        failure("no GPU", "Hello"),
    ),
    Case(
        "sends an error in the middle, as a string",
        lambda a: [SSE, hello_events(a), data_line({"error": "no GPU"})],
        failure("no GPU", "Hello"),
    ),
    Case(
        "sends an error event",
        lambda a: [SSE, hello_events(a), b'event: error\ndata: {"message": "no GPU"}\n\n'],
        failure("no GPU", "Hello"),
    ),
    Case(
        "sends a line with the field `error`",
        lambda a: [SSE, hello_events(a), b'error: {"message": "no GPU"}\n\n'],
        failure("no GPU", "Hello"),
    ),
    Case(
        "rejects the request within the stream",
        lambda _: [SSE, data_line({"error": {"message": "no", "type": "BadRequestError"}})],
        failure("no", code="invalid_prompt"),
    ),
    Case(
        "reports a failure in the middle",
        lambda a: [SSE, hello_events(a), a.failure_end()],
        failure("aborted", "Hello"),
    ),
    Case(
        "answers with an HTML page",
        lambda _: [HEAD + b"Content-Type: text/html\r\n\r\n", HTML_PAGE, CLOSE],
        failure("page"),
    ),
    Case(
        "sends malformed JSON in the middle",
        lambda a: [SSE, hello_events(a), b"data: {garbage\n\n"],
        failure("not JSON", "Hello"),
    ),
    Case(
        "sends two JSON documents in one line",
        lambda a: [SSE, hello_events(a), b"data: {}{}\n\n"],
        failure("not JSON", "Hello"),
    ),
    Case(
        "sends a JSON array instead of an object",
        lambda a: [SSE, hello_events(a), b"data: [1, 2]\n\n"],
        failure("something that is no", "Hello"),
    ),
    Case("sends deeply nested JSON", lambda a: [SSE, hello_events(a), DEEP_NESTING], failure("not JSON", "Hello")),
    Case("closes the connection before its answer", lambda _: [CLOSE], failure("broke", requests=3)),
    Case(
        "closes the connection after its headers", lambda _: [SSE, CLOSE], failure("closed the connection", requests=3)
    ),
    Case(
        "closes the connection before the end",
        lambda a: [SSE, hello_events(a), CLOSE],
        failure("closed the connection", "Hello"),
    ),
    Case(
        "resets the connection before the end",
        lambda a: [SSE, hello_events(a), 0.2, Action.RESET],
        failure("connection", "Hello"),
    ),
    Case(
        "breaks off its HTTP chunks",
        lambda a: [CHUNKED_HEAD, http_chunk(hello_events(a)), b"ffff\r\nda", CLOSE],
        failure("broke", "Hello"),
    ),
    Case(
        "sends less than its Content-Length", lambda a: [reply(hello_events(a), 9999), CLOSE], failure("broke", "Hello")
    ),
    Case(
        "sends more than its Content-Length",
        lambda a: [reply(hello_events(a), len(hello_events(a))), 0.3, a.end()],
        failure("closed", "Hello"),
    ),
    Case("never answers", lambda _: [], failure("silent")),
    Case("sends only headers", lambda _: [SSE], failure("silent")),
    Case("sends comments forever", lambda _: [SSE, COMMENT, Action.REPEAT], failure("silent")),
    Case("sends empty chunks forever", lambda a: [SSE, a.empty_events(), Action.REPEAT], failure("silent")),
    Case("falls silent in the middle", lambda a: [SSE, hello_events(a)], failure("silent", "Hello")),
    Case(
        "sends comments forever in the middle",
        lambda a: [SSE, hello_events(a), COMMENT, Action.REPEAT],
        failure("silent", "Hello"),
    ),
    Case(
        "redirects", lambda _: [error_reply("307 Temporary Redirect", b"", "Location: /elsewhere/v1")], failure("307")
    ),
    Case("answers 204", lambda _: [error_reply("204 No Content")], failure("204")),
    Case("answers 404", lambda _: [error_reply("404 Not Found", HTML_PAGE)], failure("404")),
    Case("rejects the key and quotes it", lambda _: [error_reply("401 Unauthorized", API_KEY_ERROR)], failure("key")),
    Case(
        "answers 500 with an HTML page",
        lambda _: [error_reply("500 Internal Server Error", HTML_PAGE)],
        failure("500", requests=3),
    ),
    Case(
        "rejects the request and does not end its answer",
        lambda _: [error_reply("422 No", b"x" * 50)[:-1]],
        failure("422", code="invalid_prompt"),
    ),
    Case(
        "rejects the request as too long",
        lambda _: [
            error_reply("400 Bad Request", b'{"error":{"message":"This model\'s maximum context length is 8 tokens."}}')
        ],
        failure("context length", code="invalid_prompt"),
    ),
    Case("does not speak HTTP", lambda _: [b"SSH-2.0-OpenSSH_9.2\r\n"], failure("broke", requests=3)),
    Case(
        "sends endless headers", lambda _: [HEAD, b"X: " + b"x" * 100_000, Action.REPEAT], failure("broke", requests=3)
    ),
    Case("sends an endless line", lambda _: [SSE, b"data: " + b"x" * 1_000_000, Action.REPEAT], failure("too long")),
    Case("does not speak TLS", lambda _: [CLOSE], failure("TLS", requests=0), base_url="https://{raw}/{name}/v1"),
    Case(
        "calls too many tools",
        lambda a: [SSE, b"".join(a.tool_call(n) for n in range(3000)), a.end()],
        failure("more tool calls"),
    ),
    Case(
        "refuses connections", lambda _: [], failure("cannot be reached", requests=0), base_url="http://127.0.0.1:9/v1"
    ),
    Case(
        "has an unresolvable name",
        lambda _: [],
        failure("cannot be reached", requests=0),
        base_url="http://nobody.invalid/v1",
    ),
    Case(
        "is never ready", lambda _: [error_reply("503 Service Unavailable", HTML_PAGE)], failure("503", requests=None)
    ),
    Case(
        "is always at capacity",
        lambda _: [error_reply("429 Too Many Requests", b"", "Retry-After: 1")],
        failure("429", code="rate_limit_exceeded", requests=None),
    ),
    chat_case(
        "calls a tool without naming it",
        lambda a: [SSE, a.tool_call(0, None), a.end("tool_calls"), a.terminator],
        failure("without naming it"),
    ),
    chat_case("ends the stream before any output", lambda a: [SSE, a.terminator], failure("closed", requests=3)),
)

CORPUS = (*VALID_CASES, *FAILING_CASES)
