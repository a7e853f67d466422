"""The faults of the TCP proxy, on real sockets."""

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.harness import tcp_proxy
from tests.harness.tcp_proxy import TcpProxy
from tests.harness.waiting import until


class EchoServer:
    """A server that sends all data back, and records the data and the number of open connections."""

    def __init__(self, server: socket.socket) -> None:
        self.server = server
        self.received = b""
        self.open_connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.server.accept()
                self.open_connections += 1
                threading.Thread(target=self._echo, args=[connection], daemon=True).start()

    def _echo(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while data := connection.recv(1024):
                self.received += data
                connection.sendall(data)
        self.open_connections -= 1


@pytest.fixture
def echo() -> Iterator[EchoServer]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield EchoServer(server)
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def proxy(echo: EchoServer) -> Iterator[TcpProxy]:
    with tcp_proxy.running(f"http://127.0.0.1:{echo.server.getsockname()[1]}/v1") as proxy:
        yield proxy


@pytest.fixture
def client(proxy: TcpProxy) -> Iterator[socket.socket]:
    with connect(proxy) as client:
        assert exchange(client, b"hello") == b"hello"
        yield client


def connect(proxy: TcpProxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=5)


def exchange(client: socket.socket, data: bytes, *, timeout_s: float = 5) -> bytes | None:
    """Send data; return the reply, or None if no data arrives within `timeout_s` seconds."""
    client.sendall(data)
    client.settimeout(timeout_s)
    try:
        return client.recv(1024)
    except TimeoutError:
        return None


def test_a_blackhole_permanently_breaks_old_and_new_connections(
    proxy: TcpProxy, client: socket.socket, echo: EchoServer
) -> None:
    proxy.blackhole()
    with connect(proxy) as second_client:
        assert exchange(second_client, b"lost", timeout_s=0.2) is None
        assert exchange(client, b"lost", timeout_s=0.2) is None
        proxy.pass_on()

        assert exchange(second_client, b"lost", timeout_s=0.2) is None
        assert exchange(client, b"lost", timeout_s=0.2) is None
    with connect(proxy) as new_client:
        assert exchange(new_client, b"back") == b"back"
    assert echo.received == b"helloback"
    assert proxy.discarded_reads == 4


def test_a_blackhole_may_begin_with_the_first_request_that_contains_certain_bytes(
    proxy: TcpProxy, client: socket.socket
) -> None:
    proxy.blackhole(from_request=b"BRPOP")
    with connect(proxy) as second_client:
        assert exchange(client, b"GET") == b"GET"
        assert exchange(client, b"BRPOP", timeout_s=0.2) is None
        assert exchange(client, b"GET", timeout_s=0.2) is None
        assert exchange(second_client, b"GET") == b"GET"


def test_the_end_of_a_connection_during_a_blackhole_is_forwarded_afterwards(
    proxy: TcpProxy, client: socket.socket, echo: EchoServer
) -> None:
    proxy.blackhole()
    client.close()
    with connect(proxy) as second_client:
        assert exchange(second_client, b"lost", timeout_s=0.2) is None
    assert echo.open_connections == 1
    proxy.pass_on()
    until(lambda: echo.open_connections == 0)
    until(lambda: proxy.open_connections == 0)


def test_held_data_is_delivered_after_the_fault(proxy: TcpProxy, client: socket.socket, echo: EchoServer) -> None:
    proxy.hold()
    assert exchange(client, b" later", timeout_s=0.2) is None
    assert echo.received == b"hello"
    proxy.pass_on()

    assert client.makefile("rb").read(6) == b" later"


def test_a_delay_applies_to_both_directions(proxy: TcpProxy, client: socket.socket) -> None:
    proxy.delay(0.2)
    assert exchange(client, b"slow", timeout_s=0.3) is None
    client.settimeout(5)
    assert client.recv(1024) == b"slow"


def test_a_reset_breaks_both_ends(proxy: TcpProxy, client: socket.socket, echo: EchoServer) -> None:
    proxy.reset()
    with pytest.raises(ConnectionResetError):
        client.recv(1024)
    until(lambda: echo.open_connections == 0)


def test_a_half_close_sends_end_of_file_to_the_client_only(
    proxy: TcpProxy, client: socket.socket, echo: EchoServer
) -> None:
    proxy.half_close()
    assert client.recv(1024) == b""
    client.sendall(b" and more")
    until(lambda: echo.received == b"hello and more")
    assert echo.open_connections == 1
    client.close()
    until(lambda: echo.open_connections == 0)


def test_open_connections_work_while_new_connections_are_refused(proxy: TcpProxy, client: socket.socket) -> None:
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        connect(proxy)
    assert exchange(client, b"still") == b"still"
    proxy.pass_on()
    with connect(proxy) as new_client:
        assert exchange(new_client, b"back") == b"back"


def test_a_connection_to_an_unavailable_server_is_reset(proxy: TcpProxy, echo: EchoServer) -> None:
    echo.server.shutdown(socket.SHUT_RDWR)
    echo.server.close()
    with pytest.raises(ConnectionResetError), connect(proxy) as client:
        client.recv(1024)


@pytest.mark.parametrize(
    ("url", "proxy_url"),
    [
        ("postgresql://postgres@/test_1?host=%2Ftmp%2Fpg", "postgresql://postgres@127.0.0.1:{}/test_1"),
        ("postgresql://me:secret@db:5433/it?sslmode=disable", "postgresql://me:secret@127.0.0.1:{}/it?sslmode=disable"),
        ("redis://:secret@127.0.0.1:6390/0", "redis://:secret@127.0.0.1:{}/0"),
        ("http://127.0.0.1:9000/v1", "http://127.0.0.1:{}/v1"),
    ],
)
def test_the_url_of_a_proxy_differs_from_that_of_its_server_only_in_the_address(url: str, proxy_url: str) -> None:
    with tcp_proxy.running(url) as proxy:
        assert proxy.url == proxy_url.format(proxy.port)
