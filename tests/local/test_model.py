"""The packaged model replies as OpenAI's API does, and stops when the client disconnects."""

import http.client
import json
import time
from collections.abc import Iterator

import pytest

from local import ports
from local.home import Home
from local.processes import child
from local.servers import model
from tests.harness.waiting import until

STORY = {"role": "user", "content": "Write a very long story about a lighthouse."}


class Server:
    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, method: str, path: str, body: dict | None = None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(method, path, json.dumps(body) if body else None, {"Content-Type": "application/json"})
        return connection, connection.getresponse()

    def get(self, path: str) -> dict | list:
        connection, answer = self.ask("GET", path)
        try:
            assert answer.status == 200
            return json.load(answer)
        finally:
            connection.close()

    def slots_busy(self) -> int:
        return sum(slot["is_processing"] for slot in self.get("/slots"))


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    home = Home.at(tmp_path_factory.mktemp("model"))
    port = ports.free()
    with child.running(model.part(home, port), home):
        yield Server(port)


def test_it_names_itself_and_has_room_for_several_at_once(server):
    assert [found["id"] for found in server.get("/v1/models")["data"]] == ["smollm2-135m"]
    assert [slot["n_ctx"] for slot in server.get("/slots")] == [2048] * 4


def test_a_stream_keeps_to_max_tokens_and_ends_with_the_usage(server):
    body = {"model": model.NAME, "messages": [STORY], "max_tokens": 8, "stream": True}
    connection, answer = server.ask("POST", "/v1/chat/completions", {**body, "stream_options": {"include_usage": True}})
    lines = [line.removeprefix("data: ") for line in answer.read().decode().splitlines() if line]
    connection.close()

    assert lines[-1] == "[DONE]"
    *chunks, ended, usage = [json.loads(line) for line in lines[:-1]]
    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)
    assert ended["choices"][0]["finish_reason"] == "length"
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == 8


def test_generation_ends_when_the_client_hangs_up(server):
    body = {"model": model.NAME, "messages": [STORY], "stream": True, "ignore_eos": True}
    connection, answer = server.ask("POST", "/v1/chat/completions", body)
    assert answer.readline()
    assert server.slots_busy() == 1

    answer.close()
    connection.close()

    until(lambda: server.slots_busy() == 0, within_s=2)


def test_it_stops_at_once_though_it_is_generating(tmp_path):
    home, port = Home.at(tmp_path / "home"), ports.free()
    body = {"model": model.NAME, "messages": [STORY], "stream": True, "ignore_eos": True}
    with child.running(model.part(home, port), home):
        connection, answer = Server(port).ask("POST", "/v1/chat/completions", body)
        assert answer.readline()
        asked_at = time.monotonic()

    assert time.monotonic() - asked_at < 1
    connection.close()
