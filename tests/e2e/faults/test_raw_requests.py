"""Requests that HTTP libraries do not send are rejected without an effect; the tests send them over a raw connection."""

import contextlib
import json
import socket

import pytest

from tests.harness.stack import Stack

BODY = b'{"model": "scripted", "input": "hi", "background": true}'


def send_raw(stack: Stack, request: bytes) -> tuple[int, str]:
    """Send a request with `Connection: close`; return the status and the body of the answer."""
    with socket.create_connection(("127.0.0.1", stack.port), timeout=20) as connection:
        with contextlib.suppress(ConnectionError):  # the server may answer before it has read everything
            connection.sendall(request)
        answer = b""
        with contextlib.suppress(ConnectionError):
            while data := connection.recv(65536):
                answer += data
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body.decode()


def create_request(stack: Stack, *headers: bytes, body: bytes = BODY) -> bytes:
    """The bytes of a create request with additional header lines, one of which frames the body if it is not `BODY`."""
    lines = [
        b"POST /v1/responses HTTP/1.1",
        b"Host: x",
        b"Connection: close",
        f"Authorization: Bearer {stack.key}".encode(),
        *([b"Content-Length: %d" % len(BODY)] if body is BODY else []),
        *headers,
    ]
    return b"\r\n".join([*lines, b"", body])


def count_responses(stack: Stack) -> int:
    return int(stack.sql("select count(*) from responses")[0][0])


@pytest.mark.parametrize(
    ("header", "name"),
    [
        (b"OpenAI-Project: \xe9", "OpenAI-Project"),
        ("OpenAI-Project: défaut".encode(), "OpenAI-Project"),
        (b"OpenAI-Project:", "OpenAI-Project"),
        (b"OpenAI-Project: default\r\nOpenAI-Project: \xe9", "OpenAI-Project"),
        (b"OpenAI-Project: default\r\nOpenAI-Project: other", "OpenAI-Project"),
        (b"Idempotency-Key: \xe9", "Idempotency-Key"),
        (b"Idempotency-Key: a\r\nIdempotency-Key: b", "Idempotency-Key"),
        (b"Content-Type: application/j\xe9son", "Content-Type"),
        (b"Content-Encoding: gz\xe9ip", "Content-Encoding"),
    ],
)
def test_an_unreadable_or_repeated_header_is_rejected_by_name(shared_stack: Stack, header: bytes, name: str) -> None:
    earlier_count = count_responses(shared_stack)

    status, body = send_raw(shared_stack, create_request(shared_stack, header))

    assert status == 400
    assert name in json.loads(body)["error"]["message"]
    assert count_responses(shared_stack) == earlier_count


@pytest.mark.parametrize(
    "header", [b"Authorization: Bearer \xe9", b"Authorization: Bearer other", b"Authorization:"], ids=repr
)
def test_a_second_authorization_header_is_rejected(shared_stack: Stack, header: bytes) -> None:
    earlier_count = count_responses(shared_stack)

    status, body = send_raw(shared_stack, create_request(shared_stack, header))

    assert (status, json.loads(body)["error"]["code"]) == (401, "invalid_api_key")
    assert "Authorization header" in json.loads(body)["error"]["message"]
    assert count_responses(shared_stack) == earlier_count


@pytest.mark.parametrize("sent", [0, 1, len(BODY) // 2, len(BODY) - 1])
@pytest.mark.parametrize("next_line", [b"zz\r\n", b"-1\r\n", b"fffffffffffffffff\r\n"])
def test_a_chunked_body_that_breaks_off_within_its_json_is_rejected(
    shared_stack: Stack, sent: int, next_line: bytes
) -> None:
    earlier_count = count_responses(shared_stack)
    chunk = b"%x\r\n%b\r\n" % (sent, BODY[:sent]) if sent else b""
    request = create_request(shared_stack, b"Transfer-Encoding: chunked", body=chunk + next_line)

    status, body = send_raw(shared_stack, request)

    assert (status, json.loads(body)["error"]["code"]) == (400, "invalid_value")
    assert count_responses(shared_stack) == earlier_count
