"""The fault-injecting proxy does what its methods promise, on real sockets."""

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.harness import tcp_proxy
from tests.harness.tcp_proxy import TcpProxy
from tests.harness.waiting import until


class Echo:
    """Sends back what it reads; records what it read and how many of its connections are open."""

    def __init__(self, server: socket.socket) -> None:
        self.server = server
        self.read = b""
        self.open = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.server.accept()
                self.open += 1
                threading.Thread(target=self._answer, args=[connection], daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while data := connection.recv(1024):
                self.read += data
                connection.sendall(data)
        self.open -= 1


@pytest.fixture
def echo() -> Iterator[Echo]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield Echo(server)
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def proxy(echo: Echo) -> Iterator[TcpProxy]:
    with tcp_proxy.running(f"http://127.0.0.1:{echo.server.getsockname()[1]}/v1") as proxy:
        yield proxy


@pytest.fixture
def client(proxy: TcpProxy) -> Iterator[socket.socket]:
    with dialled(proxy) as client:
        assert said(client, b"hello") == b"hello"
        yield client


def dialled(proxy: TcpProxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=5)


def said(client: socket.socket, what: bytes, *, within_s: float = 5) -> bytes | None:
    """The reply; None if there is none in time."""
    client.sendall(what)
    client.settimeout(within_s)
    try:
        return client.recv(1024)
    except TimeoutError:
        return None


def test_a_blackhole_swallows_for_good_what_comes_on_old_and_new_connections(
    proxy: TcpProxy, client: socket.socket, echo: Echo
) -> None:
    proxy.blackhole()
    with dialled(proxy) as late:
        assert said(late, b"lost", within_s=0.2) is None
        assert said(client, b"lost", within_s=0.2) is None
        proxy.pass_on()

        assert said(late, b"lost", within_s=0.2) is None
        assert said(client, b"lost", within_s=0.2) is None
    with dialled(proxy) as new:
        assert said(new, b"back") == b"back"
    assert echo.read == b"helloback"
    assert proxy.swallowed == 4


def test_a_blackhole_may_begin_with_a_certain_request(proxy: TcpProxy, client: socket.socket) -> None:
    proxy.blackhole(from_request=b"BRPOP")
    with dialled(proxy) as other:
        assert said(client, b"GET") == b"GET"
        assert said(client, b"BRPOP", within_s=0.2) is None
        assert said(client, b"GET", within_s=0.2) is None
        assert said(other, b"GET") == b"GET"


def test_an_end_that_a_blackhole_swallowed_is_heard_when_it_is_healed(
    proxy: TcpProxy, client: socket.socket, echo: Echo
) -> None:
    proxy.blackhole()
    client.close()
    with dialled(proxy) as other:
        assert said(other, b"lost", within_s=0.2) is None
    assert echo.open == 1
    proxy.pass_on()
    until(lambda: echo.open == 0)
    until(lambda: proxy.open == 0)


def test_what_is_held_is_delivered_late(proxy: TcpProxy, client: socket.socket, echo: Echo) -> None:
    proxy.hold()
    assert said(client, b" later", within_s=0.2) is None
    assert echo.read == b"hello"
    proxy.pass_on()

    assert client.makefile("rb").read(6) == b" later"


def test_a_delay_holds_up_each_way(proxy: TcpProxy, client: socket.socket) -> None:
    proxy.delay(0.2)
    assert said(client, b"slow", within_s=0.3) is None
    client.settimeout(5)
    assert client.recv(1024) == b"slow"


def test_a_reset_breaks_both_ends(proxy: TcpProxy, client: socket.socket, echo: Echo) -> None:
    proxy.reset()
    with pytest.raises(ConnectionResetError):
        client.recv(1024)
    until(lambda: echo.open == 0)


def test_half_a_close_ends_what_the_client_reads_and_the_server_learns_nothing(
    proxy: TcpProxy, client: socket.socket, echo: Echo
) -> None:
    proxy.half_close()
    assert client.recv(1024) == b""
    client.sendall(b" and more")
    until(lambda: echo.read == b"hello and more")
    assert echo.open == 1
    client.close()
    until(lambda: echo.open == 0)


def test_refusing_leaves_what_is_open(proxy: TcpProxy, client: socket.socket) -> None:
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        dialled(proxy)
    assert said(client, b"still") == b"still"
    proxy.pass_on()
    with dialled(proxy) as new:
        assert said(new, b"back") == b"back"


def test_a_server_that_is_away_is_a_reset(proxy: TcpProxy, echo: Echo) -> None:
    echo.server.shutdown(socket.SHUT_RDWR)
    echo.server.close()
    with pytest.raises(ConnectionResetError), dialled(proxy) as client:
        client.recv(1024)


@pytest.mark.parametrize(
    ("url", "through"),
    [
        ("postgresql://postgres@/test_1?host=%2Ftmp%2Fpg", "postgresql://postgres@127.0.0.1:{}/test_1"),
        ("postgresql://me:secret@db:5433/it?sslmode=disable", "postgresql://me:secret@127.0.0.1:{}/it?sslmode=disable"),
        ("redis://:secret@127.0.0.1:6390/0", "redis://:secret@127.0.0.1:{}/0"),
        ("http://127.0.0.1:9000/v1", "http://127.0.0.1:{}/v1"),
    ],
)
def test_the_url_is_the_servers_by_another_way(url: str, through: str) -> None:
    with tcp_proxy.running(url) as proxy:
        assert proxy.url == through.format(proxy.port)
