"""The scripted model server follows scripts exactly, and records the requests of clients correctly."""

import http.client
import json
import subprocess
import sys
import time
import urllib.error
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any, Self

import openai
import pytest

from tests.harness.waiting import until
from tests.model_server import ROOT, ModelServer, StartError, running
from tests.model_server.script import InvalidScriptError

# Far shorter than the delays of the scripts, and far longer than the delays that a busy machine causes.
MAX_DELAY_S = 0.5


@pytest.fixture(scope="module")
def shared_server() -> Iterator[ModelServer]:
    with running() as server:
        yield server


@pytest.fixture
def server(shared_server: ModelServer) -> ModelServer:
    shared_server.reset()
    return shared_server


@pytest.fixture
def client(server: ModelServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.base_url, api_key="none", max_retries=0) as client:
        yield client


class RawRequest:
    """One request over its own connection, whose events can be read one by one."""

    def __init__(self, server: ModelServer, text: str, **body: Any) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        request_body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": text}]} | body
        self.connection.request("POST", "/v1/chat/completions", json.dumps(request_body))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def response(self) -> http.client.HTTPResponse:
        return self.connection.getresponse()

    def events(self) -> Iterator[str]:
        """Yield the data of each event as soon as it arrives."""
        with self.response() as response:
            assert response.status == 200
            buffer = b""
            while data := response.read1():  # unlike iteration, `read1` raises an error for a broken stream
                *complete_events, buffer = (buffer + data).split(b"\n\n")
                yield from (event.decode().removeprefix("data: ") for event in complete_events)


def read_choices(events: list[str]) -> list[dict[str, Any]]:
    return [choice for event in events if event[0] == "{" for choice in json.loads(event)["choices"]]


def read_token_texts(events: list[str]) -> list[str]:
    return [choice["delta"]["content"] for choice in read_choices(events) if choice["delta"].get("content")]


def read_finish_reasons(events: list[str]) -> list[str]:
    return [choice["finish_reason"] for choice in read_choices(events) if choice["finish_reason"]]


def stream_events(server: ModelServer, text: str, **body: Any) -> list[str]:
    with RawRequest(server, text, **body) as raw_request:
        return list(raw_request.events())


def read_status(server: ModelServer, text: str, **body: Any) -> int:
    with RawRequest(server, text, **body) as raw_request, raw_request.response() as response:
        return response.status


def read_record(server: ModelServer, tag: str) -> dict[str, Any]:
    (record,) = server.stats(tag)["by_tag"][tag]
    return record


def test_every_token_is_one_event_and_the_last_event_is_done(server: ModelServer) -> None:
    events = stream_events(server, server.script(tokens=3))
    assert read_token_texts(events) == ["tok0 ", "tok1 ", "tok2 "]
    assert json.loads(events[0])["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert read_finish_reasons(events) == ["stop"]
    assert events[-1] == "[DONE]"


def test_a_text_that_is_not_a_script_is_repeated_word_by_word(server: ModelServer) -> None:
    assert read_token_texts(stream_events(server, "hello\n\n there")) == ["You ", "said: ", "hello\n\n ", "there"]
    assert read_token_texts(stream_events(server, '["no", "script"]')) == ["You ", "said: ", '["no", ', '"script"]']


def test_the_openai_client_reads_a_stream_with_usage(server: ModelServer, client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="m",
        messages=[
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": [{"type": "text", "text": server.script(text="an answer")}]},
        ],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "an answer"
    assert chunks[-1].choices == []
    usage = chunks[-1].usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (5, 2, 7)


def test_the_openai_client_reads_an_answer_as_one_document_and_the_list_of_models(
    server: ModelServer, client: openai.OpenAI
) -> None:
    script = server.script(tokens=2, tag="document")
    completion = client.chat.completions.create(model="m", messages=[{"role": "user", "content": script}])
    assert completion.choices[0].message.content == "tok0 tok1 "
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage is not None
    assert completion.usage.completion_tokens == 2
    assert read_record(server, "document")["outcome"] == "finished"
    assert [model.id for model in client.models.list()] == ["scripted"]


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_an_answer_over_the_token_limit_is_truncated_with_reason_length(server: ModelServer, field: str) -> None:
    events = stream_events(server, server.script(tokens=5), **{field: 2})
    assert read_token_texts(events) == ["tok0 ", "tok1 "]
    assert read_finish_reasons(events) == ["length"]
    assert read_finish_reasons(stream_events(server, server.script(tokens=5), **{field: 5})) == ["stop"]


def test_scripts_control_the_finish_reason_usage_and_terminator(server: ModelServer) -> None:
    options = {"stream_options": {"include_usage": True}}
    bare_events = stream_events(server, server.script(tokens=1, finish=None, usage=False, sends_done=False), **options)
    assert read_token_texts([bare_events[-1]]) == ["tok0 "]
    events = stream_events(server, server.script(tokens=1, finish="content_filter", usage=True))
    assert read_finish_reasons(events) == ["content_filter"]
    assert json.loads(events[-2])["usage"]["completion_tokens"] == 1


def read_tool_call_pieces(events: list[str]) -> list[dict[str, Any]]:
    return [piece for choice in read_choices(events) for piece in choice["delta"].get("tool_calls", ())]


def test_tool_calls_follow_the_text_in_one_piece_or_several(server: ModelServer) -> None:
    calls = [{"name": "f", "arguments": '{"a": 1}', "id": "call_1"}, {"name": "g", "arguments": ""}]
    events = stream_events(server, server.script(text="so", tool_calls=calls))
    complete_pieces = read_tool_call_pieces(
        stream_events(server, server.script(tool_calls=calls, unsplit_tool_calls=True))
    )
    assert read_token_texts(events) == ["so"]
    assert read_finish_reasons(events) == ["tool_calls"]
    assert [(piece["index"], piece["function"]) for piece in read_tool_call_pieces(events)] == [
        (0, {"name": "f", "arguments": ""}),
        (0, {"arguments": '{"a'}),
        (0, {"arguments": '": '}),
        (0, {"arguments": "1}"}),
        (1, {"name": "g", "arguments": ""}),
    ]
    assert [piece["function"] for piece in complete_pieces] == [
        {"name": call["name"], "arguments": call["arguments"]} for call in calls
    ]
    assert [piece["id"][:5] for piece in (*read_tool_call_pieces(events), *complete_pieces) if "id" in piece] == [
        "call_"
    ] * 4


def test_the_openai_client_reads_tool_calls(server: ModelServer, client: openai.OpenAI) -> None:
    script = server.script(tool_calls=[{"name": "f", "arguments": "{}", "id": "call_1"}])
    completion = client.chat.completions.create(model="m", messages=[{"role": "user", "content": script}])
    assert completion.choices[0].finish_reason == "tool_calls"
    (call,) = completion.choices[0].message.tool_calls or ()
    assert (call.id, call.function.name, call.function.arguments) == ("call_1", "f", "{}")


def test_an_answer_takes_the_time_of_its_scripted_delays(server: ModelServer) -> None:
    for stream in (True, False):
        tag = f"paced {stream}"
        script = server.script(tag=tag, tokens=4, first_delay_s=0.2, delay_s=0.1)
        with RawRequest(server, script, stream=stream) as raw_request:
            raw_request.response().read()
        record = read_record(server, tag)
        assert 0.49 <= record["ended"] - record["started"] < 0.5 + MAX_DELAY_S


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503])
def test_a_scripted_status_is_sent_as_an_openai_error(server: ModelServer, status: int) -> None:
    script = server.script(tag="no", status=status, retry_after=7, code="why", message="because")
    with RawRequest(server, script) as raw_request, raw_request.response() as response:
        error = json.load(response)["error"]
        assert (response.status, response.headers["Retry-After"]) == (status, "7")
    assert (error["code"], error["message"]) == ("why", "because")
    assert read_record(server, "no")["outcome"] == "errored"


def test_only_the_first_requests_of_a_tag_fail(server: ModelServer) -> None:
    script = server.script(tag="twice", status=503, fail_times=2, tokens=1)
    assert [read_status(server, script) for _ in range(3)] == [503, 503, 200]
    server.reset()
    assert read_status(server, script) == 503


def test_fail_times_also_limits_other_faults(server: ModelServer) -> None:
    script = server.script(tag="once", tokens=2, drop_after_tokens=1, fail_times=1)
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        stream_events(server, script)
    assert read_token_texts(stream_events(server, script)) == ["tok0 ", "tok1 "]


@pytest.mark.parametrize(
    ("drop_how", "error"), [("close", http.client.IncompleteRead), ("reset", ConnectionResetError)]
)
@pytest.mark.parametrize(("drop_after_tokens", "sent_tokens"), [(0, 0), (2, 2), (9, 3)])
def test_a_connection_is_dropped_after_the_scripted_number_of_tokens(
    server: ModelServer, drop_how: str, error: type[Exception], drop_after_tokens: int, sent_tokens: int
) -> None:
    script = server.script(tag="drop", tokens=3, drop_after_tokens=drop_after_tokens, drop_how=drop_how)
    with RawRequest(server, script) as raw_request, pytest.raises(error):
        list(raw_request.events())
    record = read_record(server, "drop")
    assert (record["outcome"], record["tokens_sent"]) == ("dropped", sent_tokens)


@pytest.mark.parametrize("drop_how", ["close", "reset"])
def test_every_token_before_a_drop_arrives(server: ModelServer, drop_how: str) -> None:
    events: list[str] = []
    script = server.script(tokens=500, drop_after_tokens=400, drop_how=drop_how)
    with RawRequest(server, script) as raw_request, pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        events.extend(raw_request.events())  # a list comprehension would lose the events before the error
    assert len(read_token_texts(events)) == 400


def test_garbage_is_sent_between_the_tokens(server: ModelServer) -> None:
    events = stream_events(server, server.script(tokens=2, garbage_after_tokens=1))
    assert events[2] == "{this is not JSON"
    assert read_finish_reasons(events[:2] + events[3:-1]) == ["stop"]


@pytest.mark.parametrize(
    ("stream", "fields"),
    [
        (True, {"first_delay_s": 60}),
        (True, {"delay_s": 60}),
        (True, {"hang_after_tokens": 0}),
        (True, {"hang_after_tokens": 1}),
        (False, {"delay_s": 60}),
        (False, {"hang_after_tokens": 0}),
    ],
    ids=str,
)
def test_a_disconnect_before_the_end_is_detected_immediately(
    server: ModelServer, stream: bool, fields: dict[str, Any]
) -> None:
    with RawRequest(server, server.script(tag="gone", tokens=2, **fields), stream=stream):
        until(lambda: server.stats()["open"] == 1)
        disconnected_at = time.monotonic()
    until(lambda: server.stats()["open"] == 0)
    record = read_record(server, "gone")
    assert record["outcome"] == "client_closed"
    assert disconnected_at <= record["ended"] <= disconnected_at + MAX_DELAY_S


def test_a_disconnect_during_a_stream_is_detected_immediately(server: ModelServer) -> None:
    with RawRequest(server, server.script(tag="mid", tokens=1000, delay_s=0.02)) as raw_request:
        for event in raw_request.events():
            if read_token_texts([event]) == ["tok3 "]:
                break
        disconnected_at = time.monotonic()
    until(lambda: read_record(server, "mid")["outcome"] == "client_closed")
    record = read_record(server, "mid")
    assert disconnected_at <= record["ended"] <= disconnected_at + MAX_DELAY_S
    assert 4 <= record["tokens_sent"] < 50


def test_a_hanging_answer_keeps_its_connection(server: ModelServer) -> None:
    with RawRequest(server, server.script(tag="hang", tokens=3, hang_after_tokens=2)) as raw_request:
        events = raw_request.events()
        assert read_token_texts([next(events) for _ in range(3)]) == ["tok0 ", "tok1 "]
        raw_request.connection.sock.settimeout(0.3)
        with pytest.raises(TimeoutError):
            next(events)
        assert read_record(server, "hang")["outcome"] is None


def test_stats_contain_the_active_requests_and_their_maximum(server: ModelServer) -> None:
    script = server.script(tag="many", tokens=1, first_delay_s=1)
    with ThreadPoolExecutor(30) as threads:
        requests = [threads.submit(stream_events, server, script) for _ in range(30)]
        until(lambda: server.stats("none")["open"] == 30)
        assert all(read_token_texts(request.result()) == ["tok0 "] for request in requests)
    stream_events(server, "another")
    stats = server.stats("many")
    assert (stats["open"], stats["requests"], stats["peak"]) == (0, 31, 30)
    assert {record["outcome"] for record in stats["by_tag"]["many"]} == {"finished"}
    assert stats["by_tag"]["many"][0]["body"]["messages"][0]["content"] == script
    assert len(server.stats()["by_tag"]) == 2
    assert server.stats("none")["by_tag"] == {"none": []}


@pytest.mark.parametrize(
    ("prefix_behavior", "partial_answer", "text"),
    [
        ("continue", "tok0 tok1", " tok2 "),
        ("continue", "tok0 to", "k1 tok2 "),
        ("continue", "something else", "tok0 tok1 tok2 "),
        ("repeat", "tok0 tok1", "tok0 tok1 tok2 "),
    ],
)
def test_a_partial_answer_in_the_request_is_continued(
    server: ModelServer, prefix_behavior: str, partial_answer: str, text: str
) -> None:
    script = server.script(tokens=3, prefix_behavior=prefix_behavior)
    messages = [{"role": "user", "content": script}, {"role": "assistant", "content": partial_answer}]
    assert "".join(read_token_texts(stream_events(server, "", messages=messages))) == text


def test_a_server_that_cannot_continue_answers_400(server: ModelServer) -> None:
    script = server.script(tokens=3, prefix_behavior="refuse")
    messages = [{"role": "user", "content": script}, {"role": "assistant", "content": "tok0"}]
    assert read_status(server, "", messages=messages) == 400
    assert read_token_texts(stream_events(server, script)) == ["tok0 ", "tok1 ", "tok2 "]


@pytest.mark.parametrize(
    "fields",
    [{"tokesn": 3}, {"tokens": "3"}, {"tokens": 1, "text": "x"}, {"finish": "no"}, {"tool_calls": [{"name": "f"}]}],
)
def test_client_and_server_reject_an_invalid_script(server: ModelServer, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidScriptError):
        server.script(**fields)
    with RawRequest(server, json.dumps(fields)) as raw_request, raw_request.response() as response:
        assert (response.status, json.load(response)["error"]["code"]) == (400, "bad_script")


def test_a_restarted_server_has_the_same_port_and_no_records() -> None:
    with running() as server:
        port = server.port
        with RawRequest(server, server.script(tokens=2, hang_after_tokens=1)) as raw_request:
            events = raw_request.events()
            next(events)
            server.kill()
            with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
                list(events)
        with pytest.raises(urllib.error.URLError):
            server.stats()
        server.restart()
        assert server.port == port
        assert server.stats() == {"open": 0, "requests": 0, "peak": 0, "by_tag": {}}
        server.restart()
        assert read_token_texts(stream_events(server, server.script(tokens=1))) == ["tok0 "]


def test_a_port_in_use_raises_an_error(server: ModelServer) -> None:
    with pytest.raises(StartError), running(server.port):
        pass


def test_the_server_stops_when_its_tests_are_killed() -> None:
    code = (
        "import tests.model_server; server = tests.model_server.ModelServer(); print(server.port, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as tests:
        port = int(tests.stdout.readline())
        tests.kill()

    def is_connection_refused() -> bool:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
            try:
                connection.connect()
            except ConnectionRefusedError:
                return True
            return False

    until(is_connection_refused)
