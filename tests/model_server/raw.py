"""A server that sends arbitrary bytes at scripted times and tracks its open connections."""

import select
import socket
import struct
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from enum import Enum, auto
from typing import Self

RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER of zero seconds: the peer gets a RST, not a FIN
# After this time, the server stops waiting for the client, but `open_scripts` still contains the connection.
CONNECTION_TIMEOUT_S = 60.0


# Stands for the name of the script while the request of a connection has not been read.
UNREAD_REQUEST = "unread"


class Action(Enum):
    """A step of a script that neither sends bytes nor waits."""

    CLOSE = auto()
    RESET = auto()
    REPEAT = auto()  # repeat the previous step until the client disconnects


# Bytes to send, seconds to wait, or an action.
Step = bytes | float | Action
RawScript = Sequence[Step]


class RawServer:
    """Plays a script for each request; the first segment of the request's path is the name of the script.

    If a script does not end with `CLOSE`, the client must close the connection. Requests without a script, and data
    other than HTTP requests, get an HTTP error.
    """

    def __init__(self, scripts: Mapping[str, RawScript]) -> None:
        self.requests: Counter[str] = Counter()
        self._scripts = scripts
        self._lock = threading.Lock()
        self._open_scripts: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def open_scripts(self) -> list[str]:
        """Return, for each connection that the client has not closed, the name of its script."""
        with self._lock:
            return list(self._open_scripts)

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        name = UNREAD_REQUEST
        with self._lock:
            self._open_scripts.append(name)
        with connection:
            try:
                connection.settimeout(CONNECTION_TIMEOUT_S)
                name = self._count_request(_read_path(connection))
                self._play_script(
                    connection, self._scripts.get(name, (b"HTTP/1.1 400 Bad Request\r\n\r\n", Action.CLOSE))
                )
            except TimeoutError:
                return
            except OSError:
                pass
        with self._lock:
            self._open_scripts.remove(name)

    def _count_request(self, path: str) -> str:
        name = path.strip("/").partition("/")[0]
        with self._lock:
            self._open_scripts[self._open_scripts.index(UNREAD_REQUEST)] = name
            self.requests[name] += 1
        return name

    def _play_script(self, connection: socket.socket, script: RawScript) -> None:
        previous_step: Step = b""
        for step in script:
            if step is Action.REPEAT:
                while previous_step and not _wait_for_close(connection, 0.05):
                    _perform_step(connection, previous_step)
            elif step is Action.CLOSE or not _perform_step(connection, step):
                return
            previous_step = step
        if not _wait_for_close(connection, CONNECTION_TIMEOUT_S):
            raise TimeoutError


def _perform_step(connection: socket.socket, step: Step) -> bool:
    """Perform a step; return whether the connection is still open."""
    if isinstance(step, bytes):
        connection.sendall(step)
    elif step is Action.RESET:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        return False
    elif isinstance(step, float):
        return not _wait_for_close(connection, step)
    return True


def _wait_for_close(connection: socket.socket, timeout_s: float) -> bool:
    """Wait up to this time; return whether the client has closed the connection."""
    readable, _, _ = select.select([connection], [], [], timeout_s)
    return bool(readable) and connection.recv(65536) == b""


def _read_path(connection: socket.socket) -> str:
    """Read a complete request; return its path, or an empty string if it is not an HTTP POST."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = connection.recv(65536)
        if not chunk:
            raise ConnectionResetError
        data += chunk
        if not data.startswith(b"POST "[: len(data)]):
            return ""
    head, _, body = data.partition(b"\r\n\r\n")
    headers = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:])
    length = int(headers[b"content-length"])
    while len(body) < length and (chunk := connection.recv(65536)):
        body += chunk
    _, path, _ = head.split(b"\r\n")[0].split(b" ")
    return path.decode()
