"""A TCP proxy in front of Postgres, Valkey or a model server that injects network faults."""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit

from local import ports

T = TypeVar("T")

RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER of zero seconds: the peer gets a RST, not a FIN
CHUNK = 65536
USUAL_PORTS = {"postgresql": 5432, "redis": 6379, "http": 80}
_CALL_S = 10.0


def _target(url: str) -> tuple[str, int]:
    """Where the server of a URL listens: host and port, or the path of its Unix socket and 0."""
    where = urlsplit(url)
    port = where.port or USUAL_PORTS[where.scheme]
    folder = dict(parse_qsl(where.query)).get("host", "")
    if folder.startswith("/"):
        return f"{folder}/.s.PGSQL.{port}", 0
    return where.hostname or "127.0.0.1", port


def _through(url: str, port: int) -> str:
    """The same URL, routed through the proxy's port."""
    where = urlsplit(url)
    user, at, _ = where.netloc.rpartition("@")
    query = urlencode([one for one in parse_qsl(where.query) if one[0] != "host"])
    return where._replace(netloc=f"{user}{at}127.0.0.1:{port}", query=query).geturl()


class TcpProxy:
    """Forwards data between clients and one server, or injects the fault set last.

    `pass_on` ends the fault. A connection that lost bytes stays dead, as in a network that has dropped its state. All
    methods may be called from any thread and have taken effect when they return.
    """

    def __init__(self, url: str) -> None:
        self._server_at = _target(url)
        self.accepted = 0  # number of connections accepted
        self.swallowed = 0  # number of reads discarded
        self.delay_s = 0.0
        self.swallows_from: bytes | None = None  # on each connection, from the first request that contains these bytes
        self._links: set[_Link] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tcp-proxy", daemon=True)
        self._thread.start()
        self.flowing = asyncio.Event()
        self.flowing.set()
        self._listener: asyncio.Server | None = None
        self.port = ports.free()
        self._call(self._listen())
        self.url = _through(url, self.port)

    @property
    def open(self) -> int:
        """The number of open connections."""
        return len(self._links)

    def pass_on(self) -> None:
        """End the fault: forward new data, and deliver data that was held."""
        self._call(self._set(delay_s=0.0, swallows_from=None, flows=True))
        self._call(self._listen())

    def delay(self, by_s: float) -> None:
        """Delay all data by `by_s` seconds in both directions."""
        self._call(self._set(delay_s=by_s, swallows_from=None, flows=True))

    def hold(self) -> None:
        """Hold all data in both directions, and deliver it after the fault ends."""
        self._call(self._set(delay_s=0.0, swallows_from=None, flows=False))

    def blackhole(self, from_request: bytes = b"") -> None:
        """Discard all data on every connection, including new ones, and keep the connections open.

        Args:
            from_request: leave each connection alone until a request contains these bytes.
        """
        self._call(self._set(delay_s=0.0, swallows_from=from_request, flows=True))

    def refuse(self) -> None:
        """Refuse new connections; leave open ones alone."""
        self._call(self._refuse())

    def reset(self) -> None:
        """Reset every open connection at both ends."""
        self._call(self._each(_Link.reset))

    def half_close(self) -> None:
        """Send end of file to the client of every connection, and nothing to the server."""
        self._call(self._each(_Link.half_close))

    def close(self) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CALL_S)
        self._loop.close()

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_CALL_S)

    async def _set(self, *, delay_s: float, swallows_from: bytes | None, flows: bool) -> None:
        self.delay_s = delay_s
        self.swallows_from = swallows_from
        (self.flowing.set if flows else self.flowing.clear)()

    async def _each(self, what: "Callable[[_Link], None]") -> None:
        for link in list(self._links):
            what(link)

    async def _listen(self) -> None:
        if self._listener is None:
            self._listener = await asyncio.start_server(
                self._serve, "127.0.0.1", self.port, backlog=1024, reuse_address=True
            )

    async def _refuse(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    async def _close(self) -> None:
        await self._refuse()
        for link in list(self._links):
            link.reset()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        link = _Link(self, reader, writer)
        self._links.add(link)
        try:
            await link.run(self._server_at)
        finally:
            self._links.discard(link)


class _Link:
    """A client's connection and the proxy's connection to the server."""

    def __init__(self, proxy: TcpProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._reader = reader
        self._writers = [writer]
        self._dead = proxy.swallows_from == b""
        self._half = False

    def reset(self) -> None:
        for writer in self._writers:
            found = writer.get_extra_info("socket")
            if found.family == socket.AF_INET:
                with contextlib.suppress(OSError):
                    found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            writer.transport.abort()

    def half_close(self) -> None:
        self._half = True
        with contextlib.suppress(OSError):
            self._writers[0].write_eof()

    async def run(self, server_at: tuple[str, int]) -> None:
        """Forward until both ends are done or one of them breaks."""
        path, port = server_at
        try:
            if self._dead:
                await self._pump(self._reader, None)
                return
            await self._proxy.flowing.wait()
            reader, writer = await (asyncio.open_connection(path, port) if port else asyncio.open_unix_connection(path))
            self._writers.append(writer)
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump(self._reader, writer))
                pumps.create_task(self._pump(reader, self._writers[0]))
        except* OSError:
            self.reset()
        finally:
            for writer in self._writers:
                writer.close()

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter | None) -> None:
        """Forward the data of one direction, and its end of file."""
        proxy, request = self._proxy, source is self._reader
        while data := await source.read(CHUNK):
            await proxy.flowing.wait()
            if proxy.delay_s:
                await asyncio.sleep(proxy.delay_s)
            begins = proxy.swallows_from is not None and (request or not proxy.swallows_from)
            self._dead = self._dead or (begins and (proxy.swallows_from or b"") in data)
            if self._dead or target is None:
                proxy.swallowed += 1
            elif not (self._half and not request):
                target.write(data)
                await target.drain()
        while proxy.swallows_from == b"" or not proxy.flowing.is_set():
            # The end of file is not forwarded during the fault either.
            await asyncio.sleep(0.05)
        if target is not None and not (self._half and not request) and not target.is_closing():
            target.write_eof()


@contextlib.contextmanager
def running(url: str) -> Iterator[TcpProxy]:
    """Run a proxy in front of the server of this URL."""
    proxy = TcpProxy(url)
    try:
        yield proxy
    finally:
        proxy.close()
