"""Workers keep no cookies of a model server, which would connect the requests of different projects."""

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.stack import Stack
from tests.harness.waiting import wait_for_end

ANSWER = b'{"choices":[{"message":{"content":"Yes"},"finish_reason":"stop"}]}'


class CookieServer(http.server.ThreadingHTTPServer):
    """A model server that sets a cookie with each answer, and records the cookies that it receives."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), CookieHandler)
        self.received_cookies: list[str | None] = []


class CookieHandler(http.server.BaseHTTPRequestHandler):
    """Answers each request with a cookie."""

    server: CookieServer

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received_cookies.append(self.headers["Cookie"])
        self.send_response(200)
        self.send_header("Set-Cookie", "client=1; Path=/")
        self.send_header("Content-Length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)


@pytest.fixture
def cookie_server() -> Iterator[CookieServer]:
    with CookieServer() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_worker_sends_no_cookie_of_an_earlier_answer(stack: Stack, config: Path, cookie_server: CookieServer) -> None:
    # Cookies apply to names, not to addresses.
    config.write_text(f'[models.cookies]\nbase_url = "http://localhost:{cookie_server.server_port}/v1"\n')
    stack.up()
    with stack.client() as client:
        for _ in range(2):
            response = client.responses.create(model="cookies", input="Hello", background=True)
            assert wait_for_end(client, response.id).status == "completed"

    assert cookie_server.received_cookies == [None, None]
