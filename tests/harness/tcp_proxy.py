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
CHUNK_BYTES = 65536
DEFAULT_PORTS = {"postgresql": 5432, "redis": 6379, "http": 80}
_CALL_TIMEOUT_S = 10.0


def _server_address(url: str) -> tuple[str, int]:
    """Return the address of the server of a URL: its host and port, or the path of its Unix socket and 0."""
    parts = urlsplit(url)
    port = parts.port or DEFAULT_PORTS[parts.scheme]
    folder = dict(parse_qsl(parts.query)).get("host", "")
    if folder.startswith("/"):
        return f"{folder}/.s.PGSQL.{port}", 0
    return parts.hostname or "127.0.0.1", port


def _proxy_url(url: str, port: int) -> str:
    """Return the URL with the address of the proxy instead of that of the server."""
    parts = urlsplit(url)
    user, at, _ = parts.netloc.rpartition("@")
    query = urlencode([(name, value) for name, value in parse_qsl(parts.query) if name != "host"])
    return parts._replace(netloc=f"{user}{at}127.0.0.1:{port}", query=query).geturl()


class TcpProxy:
    """Forwards data between clients and one server, or injects the fault that was set last.

    `pass_on` ends the fault, but a connection that has lost bytes no longer transfers data, as if a firewall had
    dropped its state. All methods may be called from any thread and have taken effect when they return.
    """

    def __init__(self, url: str) -> None:
        self._server_address = _server_address(url)
        self.accepted_connections = 0  # since the start
        self.discarded_reads = 0  # number of reads from a socket with discarded data, since the start
        self.delay_s = 0.0
        # If not None, each connection discards all data from the first request that contains these bytes; if empty, all
        # connections discard all data.
        self.discard_trigger: bytes | None = None
        self._links: set[_Link] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tcp-proxy", daemon=True)
        self._thread.start()
        self.flowing = asyncio.Event()
        self.flowing.set()
        self._listener: asyncio.Server | None = None
        self.port = ports.free_port()
        self._call(self._listen())
        self.url = _proxy_url(url, self.port)

    @property
    def open_connections(self) -> int:
        """The number of open connections from clients."""
        return len(self._links)

    def pass_on(self) -> None:
        """End the fault: forward new data, deliver held data, and accept connections."""
        self._call(self._set_fault(delay_s=0.0, discard_trigger=None, is_flowing=True))
        self._call(self._listen())

    def delay(self, delay_s: float) -> None:
        """Delay all data by `delay_s` seconds in both directions."""
        self._call(self._set_fault(delay_s=delay_s, discard_trigger=None, is_flowing=True))

    def hold(self) -> None:
        """Hold back all data in both directions, and deliver it after the fault ends."""
        self._call(self._set_fault(delay_s=0.0, discard_trigger=None, is_flowing=False))

    def blackhole(self, from_request: bytes = b"") -> None:
        """Discard all data on all open and new connections, and keep the connections open.

        Args:
            from_request: bytes that trigger the fault: a connection works until a request on it contains these bytes.
        """
        self._call(self._set_fault(delay_s=0.0, discard_trigger=from_request, is_flowing=True))

    def refuse(self) -> None:
        """Refuse new connections; open connections still work."""
        self._call(self._stop_listening())

    def reset(self) -> None:
        """Reset every open connection at both ends."""
        self._call(self._apply_to_links(_Link.reset))

    def half_close(self) -> None:
        """Send end of file to the client of every connection, but not to the server."""
        self._call(self._apply_to_links(_Link.half_close))

    def close(self) -> None:
        """Reset all connections and stop the proxy."""
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CALL_TIMEOUT_S)
        self._loop.close()

    def _call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the proxy's event loop; return its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_CALL_TIMEOUT_S)

    async def _set_fault(self, *, delay_s: float, discard_trigger: bytes | None, is_flowing: bool) -> None:
        self.delay_s = delay_s
        self.discard_trigger = discard_trigger
        if is_flowing:
            self.flowing.set()
        else:
            self.flowing.clear()

    async def _apply_to_links(self, action: "Callable[[_Link], None]") -> None:
        for link in list(self._links):
            action(link)

    async def _listen(self) -> None:
        if self._listener is None:
            self._listener = await asyncio.start_server(
                self._serve, "127.0.0.1", self.port, backlog=1024, reuse_address=True
            )

    async def _stop_listening(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    async def _close(self) -> None:
        await self._stop_listening()
        for link in list(self._links):
            link.reset()
        other_tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in other_tasks:
            task.cancel()
        await asyncio.gather(*other_tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted_connections += 1
        link = _Link(self, reader, writer)
        self._links.add(link)
        try:
            await link.run(self._server_address)
        finally:
            self._links.discard(link)


class _Link:
    """The connection of a client to the proxy, and the connection of the proxy to the server."""

    def __init__(self, proxy: TcpProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._reader = reader
        self._writers = [writer]
        self._is_dead = proxy.discard_trigger == b""
        self._is_half_closed = False

    def reset(self) -> None:
        for writer in self._writers:
            connection = writer.get_extra_info("socket")
            if connection.family == socket.AF_INET:
                with contextlib.suppress(OSError):
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            writer.transport.abort()

    def half_close(self) -> None:
        self._is_half_closed = True
        with contextlib.suppress(OSError):
            self._writers[0].write_eof()

    async def run(self, server_address: tuple[str, int]) -> None:
        """Forward data until both ends have sent end of file, or one of the connections breaks."""
        host_or_path, port = server_address
        try:
            if self._is_dead:
                await self._pump(self._reader, None)
                return
            await self._proxy.flowing.wait()
            reader, writer = await (
                asyncio.open_connection(host_or_path, port) if port else asyncio.open_unix_connection(host_or_path)
            )
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
        """Forward data and end of file in one direction, subject to the fault; without a target, discard both."""
        proxy, is_request = self._proxy, source is self._reader
        while data := await source.read(CHUNK_BYTES):
            await proxy.flowing.wait()
            if proxy.delay_s:
                await asyncio.sleep(proxy.delay_s)
            may_trigger = proxy.discard_trigger is not None and (is_request or not proxy.discard_trigger)
            self._is_dead = self._is_dead or (may_trigger and (proxy.discard_trigger or b"") in data)
            if self._is_dead or target is None:
                proxy.discarded_reads += 1
            elif is_request or not self._is_half_closed:
                target.write(data)
                await target.drain()
        while proxy.discard_trigger == b"" or not proxy.flowing.is_set():
            # During these faults, the end of file is not forwarded either.
            await asyncio.sleep(0.05)
        if target is not None and (is_request or not self._is_half_closed) and not target.is_closing():
            target.write_eof()


@contextlib.contextmanager
def running(url: str) -> Iterator[TcpProxy]:
    """Run a proxy in front of the server of this URL inside the block."""
    proxy = TcpProxy(url)
    try:
        yield proxy
    finally:
        proxy.close()
