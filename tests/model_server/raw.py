"""A server that sends arbitrary bytes at scripted times and tracks which connections are open."""

import select
import socket
import struct
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from enum import Enum, auto
from typing import Self

RESET_ON_CLOSE = struct.pack("ii", 1, 0)
ANSWERS_WITHIN_S = 60.0  # after this, an unclosed connection is abandoned but still counted


class Do(Enum):
    """The steps of a script other than bytes to send and seconds to wait."""

    CLOSE = auto()
    RESET = auto()
    REPEAT = auto()  # repeat the previous step until the client disconnects


Step = bytes | float | Do
Script = Sequence[Step]


class RawServer:
    """Plays a script for each request, selected by the first segment of the request's path.

    A script that does not end with a close leaves closing to the client. Requests that are not HTTP get an HTTP reply.
    """

    def __init__(self, scripts: Mapping[str, Script]) -> None:
        self.asked: Counter[str] = Counter()
        self._scripts = scripts
        self._lock = threading.Lock()
        self._open: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def open(self) -> list[str]:
        """The scripts whose connections are still open at both ends."""
        with self._lock:
            return list(self._open)

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        name = "unread"
        with self._lock:
            self._open.append(name)
        with connection:
            try:
                connection.settimeout(ANSWERS_WITHIN_S)
                name = self._named(_path(connection))
                self._play(connection, self._scripts.get(name, (b"HTTP/1.1 400 Bad Request\r\n\r\n", Do.CLOSE)))
            except TimeoutError:
                return
            except OSError:
                pass
        with self._lock:
            self._open.remove(name)

    def _named(self, path: str) -> str:
        name = path.strip("/").partition("/")[0]
        with self._lock:
            self._open[self._open.index("unread")] = name
            self.asked[name] += 1
        return name

    def _play(self, connection: socket.socket, script: Script) -> None:
        before: Step = b""
        for step in script:
            if step is Do.REPEAT:
                while before and not _left(connection, 0.05):
                    _do(connection, before)
            elif step is Do.CLOSE or not _do(connection, step):
                return
            before = step
        if not _left(connection, ANSWERS_WITHIN_S):
            raise TimeoutError


def _do(connection: socket.socket, step: Step) -> bool:
    """Perform a step; return whether the client is still connected."""
    if isinstance(step, bytes):
        connection.sendall(step)
    elif step is Do.RESET:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        return False
    elif isinstance(step, float):
        return not _left(connection, step)
    return True


def _left(connection: socket.socket, within_s: float) -> bool:
    """Whether the client closes the connection within this time."""
    ready, _, _ = select.select([connection], [], [], within_s)
    return bool(ready) and connection.recv(65536) == b""


def _path(connection: socket.socket) -> str:
    """Read a complete request; return its path, or an empty string if it is not an HTTP POST."""
    read = b""
    while b"\r\n\r\n" not in read:
        more = connection.recv(65536)
        if not more:
            raise ConnectionResetError
        read += more
        if not read.startswith(b"POST "[: len(read)]):
            return ""
    head, _, body = read.partition(b"\r\n\r\n")
    length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    while len(body) < length and (more := connection.recv(65536)):
        body += more
    return head.split(b" ")[1].decode()
