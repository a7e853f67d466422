"""Clients that do not read their streams or never finish sending: their threads eventually become free again."""

import contextlib
import http.client
import json
import select
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import openai
import psutil
import pytest

from core.bootstrap import THREADS_FOR_POLLS
from tests import stream_checker
from tests.harness.stack import Stack
from tests.harness.waiting import ended, until
from tests.model_server import ModelServer
from tests.stream_checker import reading

STALL_S = 6


@pytest.fixture
def long_one(stack: Stack, models: ModelServer) -> str:
    """A response whose events fill every buffer on the way, on an API with threads for two waiting requests."""
    # Megabytes at once keep the worker's flusher busy for longer than the short lease of other tests.
    stack.up(API_THREADS=str(THREADS_FOR_POLLS + 2), STALL_S=str(STALL_S), LEASE_S="20")
    with stack.client() as client:
        script = models.script(text=("w" * 4000 + " ") * 1500)
        return ended(client, client.responses.create(model="scripted", input=script, background=True).id).id


@contextlib.contextmanager
def asking(stack: Stack, path: str) -> Iterator[socket.socket]:
    """A connection with a small receive buffer on which a GET of `path` has been answered and nothing is read."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", stack.port))
        lines = [f"GET {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {stack.key}"]
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        connection.settimeout(10)
        begun = b"HTTP/1.1 200"
        assert connection.recv(len(begun), socket.MSG_PEEK | socket.MSG_WAITALL) == begun
        yield connection


def refused(stack: Stack, path: str) -> http.client.HTTPMessage | None:
    """The headers of the reply if no thread is free to serve `path`, else None."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", stack.port, timeout=10)) as connection:
        connection.request("GET", path, headers={"Authorization": f"Bearer {stack.key}"})
        with connection.getresponse() as answer:
            if answer.status == 200:
                return None
            assert answer.status == 503
            assert json.load(answer)["error"]["code"] == "server_busy"
            return answer.headers


def dropped(stack: Stack, connection: socket.socket) -> bool:
    """Whether the server has closed its end of the connection; a client that does not read receives no notice."""
    _, port = connection.getsockname()
    ends = [(one.laddr.port, one.raddr.port) for one in psutil.net_connections("tcp") if one.raddr]
    return (stack.port, port) not in ends


def test_readers_that_take_nothing_are_dropped_and_can_read_on(stack: Stack, long_one: str) -> None:
    path = f"/v1/responses/{long_one}?stream=true"
    with asking(stack, path) as stuck, asking(stack, path) as another:
        headers = refused(stack, path)
        assert headers is not None
        assert int(headers["Retry-After"]) >= 1
        with stack.client() as client:
            assert client.responses.retrieve(long_one).status == "completed"  # polls have threads of their own

        until(lambda: dropped(stack, stuck) and dropped(stack, another), within_s=STALL_S * 3, every_s=0.2)
    until(lambda: refused(stack, path) is None, within_s=5)
    with reading(stack.port, stack.key, path) as stream:
        stream_checker.check(stream.read())
        assert stream.done


def test_who_reads_slowly_but_reads_gets_everything(stack: Stack, long_one: str) -> None:
    with reading(stack.port, stack.key, f"/v1/responses/{long_one}?stream=true") as stream:
        for event in stream:
            if event["sequence_number"] % 10 == 0:
                time.sleep(0.05)
        stream_checker.check(stream.events)
        assert stream.done


def test_a_stream_of_a_client_that_left_gives_its_place_back(stack: Stack, models: ModelServer) -> None:
    stack.up(API_THREADS=str(THREADS_FOR_POLLS + 1), PING_S="0.5")
    body = {"model": "scripted", "input": models.script(tokens=2000, delay_s=0.1), "stream": True, "background": True}
    with reading(stack.port, stack.key, "/v1/responses", body) as stream:
        response_id = stream.read(5)[0]["response"]["id"]
        with stack.client() as client, pytest.raises(openai.InternalServerError, match="wait") as caught:
            client.responses.retrieve(response_id, stream=True)
        assert caught.value.response.headers["Retry-After"]

    until(lambda: refused(stack, f"/v1/responses/{response_id}?stream=true") is None, within_s=5)


@contextlib.contextmanager
def never_finished(stack: Stack) -> Iterator[socket.socket]:
    """A connection that has sent part of a create; the rest of the body never arrives."""
    with socket.create_connection(("127.0.0.1", stack.port), timeout=10) as connection:
        lines = ["POST /v1/responses HTTP/1.1", "Host: x", f"Authorization: Bearer {stack.key}", "Content-Length: 99"]
        connection.sendall("\r\n".join([*lines, "Content-Type: application/json", "", '{"model":']).encode())
        yield connection


def watched(connection: socket.socket) -> bool:
    """Whether TCP keepalive is active at the server's end of this connection."""
    here, there = (f":{port:04X}" for port in (connection.getpeername()[1], connection.getsockname()[1]))
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
    return any(row[1].endswith(here) and row[2].endswith(there) and row[5].startswith("02") for row in rows)


def test_bodies_that_never_come_leave_threads_to_polls_and_are_watched(stack: Stack) -> None:
    stack.up(API_THREADS=str(THREADS_FOR_POLLS + 1), STALL_S=str(STALL_S))
    with contextlib.ExitStack() as exits, stack.client() as client:
        made = client.responses.create(model="scripted", input="hi", background=True)
        begun = [exits.enter_context(never_finished(stack)) for _ in range(2 * THREADS_FOR_POLLS)]
        refused = [one for one in begun if select.select([one], [], [], 0.05)[0]]
        until(lambda: client.responses.retrieve(made.id).status == "completed", within_s=10)
        assert all(one.recv(12) == b"HTTP/1.1 503" for one in refused)
        kept = [one for one in begun if one not in refused]
        assert len(kept) == THREADS_FOR_POLLS // 2 + 1
        if sys.platform == "linux":
            assert all(map(watched, kept))

    with stack.client() as client:
        until(lambda: client.responses.create(model="scripted", input="hi").status == "completed", within_s=5)


def test_http_2_is_not_spoken_since_its_readers_could_not_be_found(calm: Stack) -> None:
    with socket.create_connection(("127.0.0.1", calm.port), timeout=10) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
        with connection.makefile("rb") as answer:
            assert not answer.readline().startswith(b"\x00")  # an HTTP/2 frame
            answer.read()  # the server closes the connection
