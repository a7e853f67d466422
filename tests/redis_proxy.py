"""A TCP proxy before Redis that makes one worker's consumer deaf and leaves its other connections alone."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit


class RedisProxy:
    """Passes everything on, and while `deaf`, no request on a connection from its first blocking pop on.

    While `swallow_all`, no request of any connection is passed on, nor later ones of the same connections.
    """

    def __init__(self, redis_url: str) -> None:
        where = urlsplit(redis_url)
        self._target = (where.hostname or "127.0.0.1", where.port or 6379)
        self._server = socket.create_server(("127.0.0.1", 0))
        user = where.netloc.rpartition("@")[0]
        self.url = where._replace(netloc=f"{user}@127.0.0.1:{self._server.getsockname()[1]}").geturl()
        self.deaf = False
        self.swallow_all = False
        self.accepted = 0
        self.swallowed = 0  # requests
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def close(self) -> None:
        for one in [self._server, *self._open]:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in list(self._threads):
            thread.join(5)
        self._server.close()

    def _start(self, target: Callable[..., None], *sockets: socket.socket) -> None:
        thread = threading.Thread(target=target, args=sockets, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._target)
            except OSError:
                client.close()
                continue
            self.accepted += 1
            self._open |= {client, server}
            for target in (self._requests, self._answers):
                self._start(target, client, server)

    def _requests(self, client: socket.socket, server: socket.socket) -> None:
        swallows = dead = False
        for data in self._read(client, server):
            swallows = self.deaf and (swallows or b"BRPOP" in data)
            dead = dead or self.swallow_all
            if swallows or dead:
                self.swallowed += 1
            else:
                with contextlib.suppress(OSError):
                    server.sendall(data)

    def _answers(self, client: socket.socket, server: socket.socket) -> None:
        for data in self._read(server, client):
            with contextlib.suppress(OSError):
                client.sendall(data)

    def _read(self, source: socket.socket, other: socket.socket) -> Iterator[bytes]:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                yield data
        with contextlib.suppress(OSError):
            other.shutdown(socket.SHUT_RDWR)
        self._open.discard(source)
        source.close()


@contextlib.contextmanager
def running(redis_url: str) -> Iterator[RedisProxy]:
    """A proxy before this Redis."""
    proxy = RedisProxy(redis_url)
    try:
        yield proxy
    finally:
        proxy.close()
