"""Clients that do not read their streams or do not complete their requests occupy no API thread permanently."""

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

from core.bootstrap import POLL_THREADS
from tests import stream_checker
from tests.harness.stack import Stack
from tests.harness.waiting import until, wait_for_end
from tests.model_server import ModelServer
from tests.stream_checker import open_event_stream

STALL_S = 6


@pytest.fixture
def long_response_id(stack: Stack, models: ModelServer) -> str:
    """The ID of a response with more events than all buffers hold, on an API with threads for two waiting requests."""
    # The flusher writes megabytes in one batch, which takes longer than the short lease of other tests.
    stack.up(
        API_THREADS=str(POLL_THREADS + 2), STALL_S=str(STALL_S), LEASE_S="20", OUTPUT_LIMIT_BYTES=str(32 * 1024 * 1024)
    )
    with stack.client() as client:
        script = models.script(text=("w" * 4000 + " ") * 1500)
        return wait_for_end(client, client.responses.create(model="scripted", input=script, background=True).id).id


@contextlib.contextmanager
def open_unread_stream(stack: Stack, path: str) -> Iterator[socket.socket]:
    """Send a GET of `path` on a connection with a small receive buffer, and read only the status of the reply."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", stack.port))
        lines = [f"GET {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {stack.key}"]
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        connection.settimeout(10)
        status_line = b"HTTP/1.1 200"
        assert connection.recv(len(status_line), socket.MSG_PEEK | socket.MSG_WAITALL) == status_line
        yield connection


def busy_headers(stack: Stack, path: str) -> http.client.HTTPMessage | None:
    """The headers of the 503 reply if no thread is free to serve `path`, else None."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", stack.port, timeout=10)) as connection:
        connection.request("GET", path, headers={"Authorization": f"Bearer {stack.key}"})
        with connection.getresponse() as reply:
            if reply.status == 200:
                return None
            assert reply.status == 503
            assert json.load(reply)["error"]["code"] == "server_busy"
            return reply.headers


def is_closed_by_server(stack: Stack, connection: socket.socket) -> bool:
    """Whether the server has closed its end of the connection; a client that does not read receives no notice."""
    _, port = connection.getsockname()
    port_pairs = [
        (server_end.laddr.port, server_end.raddr.port)
        for server_end in psutil.net_connections("tcp")
        if server_end.raddr
    ]
    return (stack.port, port) not in port_pairs


def test_readers_that_read_nothing_are_disconnected_and_can_reconnect(stack: Stack, long_response_id: str) -> None:
    path = f"/v1/responses/{long_response_id}?stream=true"
    with open_unread_stream(stack, path) as first_connection, open_unread_stream(stack, path) as second_connection:
        headers = busy_headers(stack, path)
        assert headers is not None
        assert int(headers["Retry-After"]) >= 1
        with stack.client() as client:
            assert client.responses.retrieve(long_response_id).status == "completed"  # polls have separate threads

        until(
            lambda: is_closed_by_server(stack, first_connection) and is_closed_by_server(stack, second_connection),
            timeout_s=STALL_S * 3,
            first_pause_s=0.2,
        )
    until(lambda: busy_headers(stack, path) is None, timeout_s=5)
    with open_event_stream(stack.port, stack.key, path) as stream:
        stream_checker.check_complete_log(stream.read())
        assert stream.done


def test_a_slow_reader_receives_every_event(stack: Stack, long_response_id: str) -> None:
    with open_event_stream(stack.port, stack.key, f"/v1/responses/{long_response_id}?stream=true") as stream:
        for event in stream:
            if event["sequence_number"] % 10 == 0:
                time.sleep(0.05)
        stream_checker.check_complete_log(stream.events)
        assert stream.done


def test_a_stream_frees_its_wait_slot_after_its_client_has_disconnected(stack: Stack, models: ModelServer) -> None:
    stack.up(API_THREADS=str(POLL_THREADS + 1), PING_S="0.5")
    body = {"model": "scripted", "input": models.script(tokens=2000, delay_s=0.1), "stream": True, "background": True}
    with open_event_stream(stack.port, stack.key, "/v1/responses", body) as stream:
        response_id = stream.read(5)[0]["response"]["id"]
        with stack.client() as client, pytest.raises(openai.InternalServerError, match="wait") as caught:
            client.responses.retrieve(response_id, stream=True)
        assert caught.value.response.headers["Retry-After"]

    until(lambda: busy_headers(stack, f"/v1/responses/{response_id}?stream=true") is None, timeout_s=5)


@contextlib.contextmanager
def open_incomplete_request(stack: Stack) -> Iterator[socket.socket]:
    """Open a connection, and send a create request without the end of its body."""
    with socket.create_connection(("127.0.0.1", stack.port), timeout=10) as connection:
        lines = ["POST /v1/responses HTTP/1.1", "Host: x", f"Authorization: Bearer {stack.key}", "Content-Length: 99"]
        connection.sendall("\r\n".join([*lines, "Content-Type: application/json", "", '{"model":']).encode())
        yield connection


def has_keepalive(connection: socket.socket) -> bool:
    """Whether TCP keepalive is active at the server's end of this connection."""
    _, server_port = connection.getpeername()
    _, client_port = connection.getsockname()
    for line in Path("/proc/net/tcp").read_text().splitlines():
        _, local_address, remote_address, _, _, timer, *_ = line.split()
        if local_address.endswith(f":{server_port:04X}") and remote_address.endswith(f":{client_port:04X}"):
            return timer.startswith("02")  # the keepalive timer
    return False


def test_incomplete_bodies_leave_threads_for_polls_and_have_keepalive(stack: Stack) -> None:
    stack.up(API_THREADS=str(POLL_THREADS + 1), STALL_S=str(STALL_S))
    with contextlib.ExitStack() as exit_stack, stack.client() as client:
        response = client.responses.create(model="scripted", input="hi", background=True)
        connections = [exit_stack.enter_context(open_incomplete_request(stack)) for _ in range(2 * POLL_THREADS)]
        rejected_connections = [
            connection for connection in connections if select.select([connection], [], [], 0.05)[0]
        ]
        until(lambda: client.responses.retrieve(response.id).status == "completed", timeout_s=10)
        assert all(connection.recv(12) == b"HTTP/1.1 503" for connection in rejected_connections)
        waiting_connections = [connection for connection in connections if connection not in rejected_connections]
        assert len(waiting_connections) == POLL_THREADS // 2 + 1
        if sys.platform == "linux":
            assert all(map(has_keepalive, waiting_connections))

    with stack.client() as client:
        until(lambda: client.responses.create(model="scripted", input="hi").status == "completed", timeout_s=5)


def test_the_api_does_not_accept_http_2(shared_stack: Stack) -> None:
    # The API could not disconnect a client that stops reading one stream of a working HTTP/2 connection.
    with socket.create_connection(("127.0.0.1", shared_stack.port), timeout=10) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
        with connection.makefile("rb") as reply:
            assert not reply.readline().startswith(b"\x00")  # an HTTP/2 frame
            reply.read()  # the server closes the connection
