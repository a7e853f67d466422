"""The scripted model server plays scripts exactly and reports truthfully about its clients."""

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
from tests.model_server import ROOT, ModelServer, NotStarted, running
from tests.model_server.script import BadScript

AT_ONCE_S = 0.5  # far below any delay scripted here, far above the delays of a busy machine


@pytest.fixture(scope="module")
def shared() -> Iterator[ModelServer]:
    with running() as server:
        yield server


@pytest.fixture
def server(shared: ModelServer) -> ModelServer:
    shared.reset()
    return shared


@pytest.fixture
def client(server: ModelServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.base_url, api_key="none", max_retries=0) as client:
        yield client


class ModelClient:
    """One request on its own socket, read event by event."""

    def __init__(self, server: ModelServer, text: str, **body: Any) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        whole = {"model": "m", "stream": True, "messages": [{"role": "user", "content": text}]} | body
        self.connection.request("POST", "/v1/chat/completions", json.dumps(whole))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def answer(self) -> http.client.HTTPResponse:
        return self.connection.getresponse()

    def events(self) -> Iterator[str]:
        with self.answer() as answer:
            assert answer.status == 200
            text = b""
            while more := answer.read1():  # unlike iteration, `read1` distinguishes a broken stream from a finished one
                *whole, text = (text + more).split(b"\n\n")
                yield from (event.decode().removeprefix("data: ") for event in whole)


def choices(events: list[str]) -> list[dict[str, Any]]:
    return [choice for event in events if event[0] == "{" for choice in json.loads(event)["choices"]]


def contents(events: list[str]) -> list[str]:
    return [c["delta"]["content"] for c in choices(events) if c["delta"].get("content")]


def finishes(events: list[str]) -> list[str]:
    return [c["finish_reason"] for c in choices(events) if c["finish_reason"]]


def ask(server: ModelServer, text: str, **body: Any) -> list[str]:
    with ModelClient(server, text, **body) as asking:
        return list(asking.events())


def status_of(server: ModelServer, text: str, **body: Any) -> int:
    with ModelClient(server, text, **body) as asking, asking.answer() as answer:
        return answer.status


def only(server: ModelServer, tag: str) -> dict[str, Any]:
    (record,) = server.stats(tag)["by_tag"][tag]
    return record


def test_every_token_is_one_event_and_done_is_last(server: ModelServer) -> None:
    events = ask(server, server.script(tokens=3))
    assert contents(events) == ["tok0 ", "tok1 ", "tok2 "]
    assert json.loads(events[0])["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert finishes(events) == ["stop"]
    assert events[-1] == "[DONE]"


def test_any_other_text_is_said_back_word_by_word(server: ModelServer) -> None:
    assert contents(ask(server, "hello\n\n there")) == ["You ", "said: ", "hello\n\n ", "there"]
    assert contents(ask(server, '["no", "script"]')) == ["You ", "said: ", '["no", ', '"script"]']


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
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "an answer"
    assert chunks[-1].choices == []
    usage = chunks[-1].usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (5, 2, 7)


def test_the_openai_client_reads_a_whole_answer_and_the_models(server: ModelServer, client: openai.OpenAI) -> None:
    script = server.script(tokens=2, tag="whole")
    whole = client.chat.completions.create(model="m", messages=[{"role": "user", "content": script}])
    assert whole.choices[0].message.content == "tok0 tok1 "
    assert whole.choices[0].finish_reason == "stop"
    assert whole.usage is not None
    assert whole.usage.completion_tokens == 2
    assert only(server, "whole")["how"] == "finished"
    assert [model.id for model in client.models.list()] == ["scripted"]


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_an_answer_over_the_token_limit_is_cut_and_says_length(server: ModelServer, field: str) -> None:
    events = ask(server, server.script(tokens=5), **{field: 2})
    assert contents(events) == ["tok0 ", "tok1 "]
    assert finishes(events) == ["length"]
    assert finishes(ask(server, server.script(tokens=5), **{field: 5})) == ["stop"]


def test_the_closing_parts_can_each_be_scripted(server: ModelServer) -> None:
    asked = {"stream_options": {"include_usage": True}}
    bare = ask(server, server.script(tokens=1, finish=None, usage=False, done=False), **asked)
    assert contents([bare[-1]]) == ["tok0 "]
    unasked = ask(server, server.script(tokens=1, finish="content_filter", usage=True))
    assert finishes(unasked) == ["content_filter"]
    assert json.loads(unasked[-2])["usage"]["completion_tokens"] == 1


def pieces(events: list[str]) -> list[dict[str, Any]]:
    return [piece for c in choices(events) for piece in c["delta"].get("tool_calls", ())]


def test_tool_calls_come_after_the_text_in_several_pieces_or_in_one(server: ModelServer) -> None:
    calls = [{"name": "f", "arguments": '{"a": 1}', "id": "call_1"}, {"name": "g", "arguments": ""}]
    events = ask(server, server.script(text="so", tool_calls=calls))
    whole = pieces(ask(server, server.script(tool_calls=calls, whole=True)))
    assert contents(events) == ["so"]
    assert finishes(events) == ["tool_calls"]
    assert [(piece["index"], piece["function"]) for piece in pieces(events)] == [
        (0, {"name": "f", "arguments": ""}),
        (0, {"arguments": '{"a'}),
        (0, {"arguments": '": '}),
        (0, {"arguments": "1}"}),
        (1, {"name": "g", "arguments": ""}),
    ]
    assert [piece["function"] for piece in whole] == [
        {"name": call["name"], "arguments": call["arguments"]} for call in calls
    ]
    assert [piece["id"][:5] for piece in (*pieces(events), *whole) if "id" in piece] == ["call_"] * 4


def test_the_openai_client_reads_whole_tool_calls(server: ModelServer, client: openai.OpenAI) -> None:
    script = server.script(tool_calls=[{"name": "f", "arguments": "{}", "id": "call_1"}])
    whole = client.chat.completions.create(model="m", messages=[{"role": "user", "content": script}])
    assert whole.choices[0].finish_reason == "tool_calls"
    (call,) = whole.choices[0].message.tool_calls or ()
    assert (call.id, call.function.name, call.function.arguments) == ("call_1", "f", "{}")


def test_tokens_come_at_their_pace(server: ModelServer) -> None:
    for stream in (True, False):
        tag = f"paced {stream}"
        script = server.script(tag=tag, tokens=4, first_delay_s=0.2, delay_s=0.1)
        with ModelClient(server, script, stream=stream) as asking:
            asking.answer().read()
        record = only(server, tag)
        assert 0.49 <= record["ended"] - record["started"] < 0.5 + AT_ONCE_S


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503])
def test_a_scripted_status_is_an_openai_error(server: ModelServer, status: int) -> None:
    script = server.script(tag="no", status=status, retry_after=7, code="why", message="because")
    with ModelClient(server, script) as asking, asking.answer() as answer:
        error = json.load(answer)["error"]
        assert (answer.status, answer.headers["Retry-After"]) == (status, "7")
    assert (error["code"], error["message"]) == ("why", "because")
    assert only(server, "no")["how"] == "errored"


def test_only_the_first_requests_of_a_tag_fail(server: ModelServer) -> None:
    script = server.script(tag="twice", status=503, fail_times=2, tokens=1)
    assert [status_of(server, script) for _ in range(3)] == [503, 503, 200]
    server.reset()
    assert status_of(server, script) == 503


def test_fail_times_counts_other_faults_too(server: ModelServer) -> None:
    script = server.script(tag="once", tokens=2, drop_after=1, fail_times=1)
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        ask(server, script)
    assert contents(ask(server, script)) == ["tok0 ", "tok1 "]


@pytest.mark.parametrize(("how", "error"), [("close", http.client.IncompleteRead), ("reset", ConnectionResetError)])
@pytest.mark.parametrize(("after", "arrive"), [(0, 0), (2, 2), (9, 3)])
def test_a_dropped_connection_ends_after_its_tokens(
    server: ModelServer, how: str, error: type[Exception], after: int, arrive: int
) -> None:
    script = server.script(tag="drop", tokens=3, drop_after=after, drop_how=how)
    with ModelClient(server, script) as asking, pytest.raises(error):
        list(asking.events())
    record = only(server, "drop")
    assert (record["how"], record["tokens_sent"]) == ("dropped", arrive)


@pytest.mark.parametrize("how", ["close", "reset"])
def test_every_token_before_a_drop_arrives(server: ModelServer, how: str) -> None:
    events: list[str] = []
    script = server.script(tokens=500, drop_after=400, drop_how=how)
    with ModelClient(server, script) as asking, pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        events.extend(asking.events())  # keeps the events before the error
    assert len(contents(events)) == 400


def test_garbage_comes_between_the_tokens(server: ModelServer) -> None:
    events = ask(server, server.script(tokens=2, garbage_after=1))
    assert events[2] == "{this is not JSON"
    assert finishes(events[:2] + events[3:-1]) == ["stop"]


@pytest.mark.parametrize(
    ("stream", "fields"),
    [
        (True, {"first_delay_s": 60}),
        (True, {"delay_s": 60}),
        (True, {"hang_after": 0}),
        (True, {"hang_after": 1}),
        (False, {"delay_s": 60}),
        (False, {"hang_after": 0}),
    ],
    ids=str,
)
def test_a_dropped_client_is_noticed_at_once(server: ModelServer, stream: bool, fields: dict[str, Any]) -> None:
    with ModelClient(server, server.script(tag="gone", tokens=2, **fields), stream=stream):
        until(lambda: server.stats()["open"] == 1)
        left = time.monotonic()
    until(lambda: server.stats()["open"] == 0)
    record = only(server, "gone")
    assert record["how"] == "client_closed"
    assert left <= record["ended"] <= left + AT_ONCE_S


def test_a_client_that_stops_mid_stream_is_noticed_at_once(server: ModelServer) -> None:
    with ModelClient(server, server.script(tag="mid", tokens=1000, delay_s=0.02)) as asking:
        for event in asking.events():
            if contents([event]) == ["tok3 "]:
                break
        left = time.monotonic()
    until(lambda: only(server, "mid")["how"] == "client_closed")
    record = only(server, "mid")
    assert left <= record["ended"] <= left + AT_ONCE_S
    assert 4 <= record["tokens_sent"] < 50


def test_a_hanging_answer_keeps_its_connection(server: ModelServer) -> None:
    with ModelClient(server, server.script(tag="hang", tokens=3, hang_after=2)) as asking:
        events = asking.events()
        assert contents([next(events) for _ in range(3)]) == ["tok0 ", "tok1 "]
        asking.connection.sock.settimeout(0.3)
        with pytest.raises(TimeoutError):
            next(events)
        assert only(server, "hang")["how"] is None


def test_stats_count_what_is_open_and_the_peak(server: ModelServer) -> None:
    script = server.script(tag="many", tokens=1, first_delay_s=1)
    with ThreadPoolExecutor(30) as threads:
        asked = [threads.submit(ask, server, script) for _ in range(30)]
        until(lambda: server.stats("none")["open"] == 30)
        assert all(contents(answer.result()) == ["tok0 "] for answer in asked)
    ask(server, "another")
    seen = server.stats("many")
    assert (seen["open"], seen["requests"], seen["peak"]) == (0, 31, 30)
    assert {record["how"] for record in seen["by_tag"]["many"]} == {"finished"}
    assert seen["by_tag"]["many"][0]["body"]["messages"][0]["content"] == script
    assert len(server.stats()["by_tag"]) == 2
    assert server.stats("none")["by_tag"] == {"none": []}


@pytest.mark.parametrize(
    ("prefix", "begun", "text"),
    [
        ("continue", "tok0 tok1", " tok2 "),
        ("continue", "tok0 to", "k1 tok2 "),
        ("continue", "something else", "tok0 tok1 tok2 "),
        ("repeat", "tok0 tok1", "tok0 tok1 tok2 "),
    ],
)
def test_an_answer_already_begun_is_continued(server: ModelServer, prefix: str, begun: str, text: str) -> None:
    script = server.script(tokens=3, prefix=prefix)
    messages = [{"role": "user", "content": script}, {"role": "assistant", "content": begun}]
    assert "".join(contents(ask(server, "", messages=messages))) == text


def test_a_server_that_cannot_continue_answers_400(server: ModelServer) -> None:
    script = server.script(tokens=3, prefix="refuse")
    messages = [{"role": "user", "content": script}, {"role": "assistant", "content": "tok0"}]
    assert status_of(server, "", messages=messages) == 400
    assert contents(ask(server, script)) == ["tok0 ", "tok1 ", "tok2 "]


@pytest.mark.parametrize(
    "fields",
    [{"tokesn": 3}, {"tokens": "3"}, {"tokens": 1, "text": "x"}, {"finish": "no"}, {"tool_calls": [{"name": "f"}]}],
)
def test_a_script_with_a_mistake_is_refused_on_both_sides(server: ModelServer, fields: dict[str, Any]) -> None:
    with pytest.raises(BadScript):
        server.script(**fields)
    with ModelClient(server, json.dumps(fields)) as asking, asking.answer() as answer:
        assert (answer.status, json.load(answer)["error"]["code"]) == (400, "bad_script")


def test_a_killed_server_comes_back_empty_on_its_port() -> None:
    with running() as server:
        port = server.port
        with ModelClient(server, server.script(tokens=2, hang_after=1)) as asking:
            events = asking.events()
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
        assert contents(ask(server, server.script(tokens=1))) == ["tok0 "]


def test_a_port_in_use_is_an_error_not_a_hang(server: ModelServer) -> None:
    with pytest.raises(NotStarted), running(server.port):
        pass


def test_the_server_does_not_outlive_tests_that_are_killed() -> None:
    code = "import tests.model_server as m; s = m.ModelServer(); print(s.port, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as tests:
        port = int(tests.stdout.readline())
        tests.kill()

    def refused() -> bool:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
            try:
                connection.connect()
            except ConnectionRefusedError:
                return True
            return False

    until(refused)
