"""TCP ports of this machine: a free one, and whether a server could listen at one."""

import errno
import os
import socket


_given: set[int] = set()


def free() -> int:
    """A TCP port nobody listens at on this machine's loopback address; another one each time."""
    while True:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port: int = taken.getsockname()[1]
        if port not in _given:
            _given.add(port)
            return port


def why_not(host: str, port: int) -> str | None:
    """Why no server can listen there, in words that follow "the port"; None when one can."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as attempt:
            # As servers do: connections of the last one may linger.
            attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            attempt.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return "is taken by another program"
        return f"cannot be used ({os.strerror(error.errno) if error.errno and error.errno > 0 else error})"
    return None
