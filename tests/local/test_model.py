"""The packaged model server replies like OpenAI's API, and stops a generation when its client disconnects."""

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


class ServerClient:
    """A client of the packaged model server."""

    def __init__(self, port: int) -> None:
        self.port = port

    def send_request(self, method: str, path: str, body: dict | None = None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(method, path, json.dumps(body) if body else None, {"Content-Type": "application/json"})
        return connection, connection.getresponse()

    def get(self, path: str) -> dict | list:
        connection, reply = self.send_request("GET", path)
        try:
            assert reply.status == 200
            return json.load(reply)
        finally:
            connection.close()

    def count_busy_slots(self) -> int:
        return sum(slot["is_processing"] for slot in self.get("/slots"))


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[ServerClient]:
    home = Home.at(tmp_path_factory.mktemp("model"))
    port = ports.free_port()
    with child.running(model.build_part(home, port), home):
        yield ServerClient(port)


def test_the_model_server_lists_its_model_and_has_four_slots(server):
    assert [entry["id"] for entry in server.get("/v1/models")["data"]] == ["smollm2-135m"]
    assert [slot["n_ctx"] for slot in server.get("/slots")] == [2048] * 4


def test_a_stream_obeys_max_tokens_and_ends_with_the_usage(server):
    body = {"model": model.NAME, "messages": [STORY], "max_tokens": 8, "stream": True}
    connection, reply = server.send_request(
        "POST", "/v1/chat/completions", {**body, "stream_options": {"include_usage": True}}
    )
    lines = [line.removeprefix("data: ") for line in reply.read().decode().splitlines() if line]
    connection.close()

    assert lines[-1] == "[DONE]"
    *chunks, last_chunk, usage = [json.loads(line) for line in lines[:-1]]
    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)
    assert last_chunk["choices"][0]["finish_reason"] == "length"
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == 8


def test_generation_stops_when_the_client_disconnects(server):
    body = {"model": model.NAME, "messages": [STORY], "stream": True, "ignore_eos": True}
    connection, reply = server.send_request("POST", "/v1/chat/completions", body)
    assert reply.readline()
    assert server.count_busy_slots() == 1

    reply.close()
    connection.close()

    until(lambda: server.count_busy_slots() == 0, timeout_s=2)


def test_the_model_server_stops_within_a_second_during_a_generation(tmp_path):
    home, port = Home.at(tmp_path / "home"), ports.free_port()
    body = {"model": model.NAME, "messages": [STORY], "stream": True, "ignore_eos": True}
    with child.running(model.build_part(home, port), home):
        connection, reply = ServerClient(port).send_request("POST", "/v1/chat/completions", body)
        assert reply.readline()
        stop_started_at = time.monotonic()

    assert time.monotonic() - stop_started_at < 1
    connection.close()
