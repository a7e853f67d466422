"""TCP ports of this machine: a free one, and whether a server could listen at one."""

import errno
import random
import socket

from core import errors

# Below those that systems give to outgoing connections: one of these would take a server's port while it restarts.
_FOR_SERVERS = range(20_000, 32_768)
_given: set[int] = set()


def free() -> int:
    """A TCP port nobody listens at on this machine's loopback address; another one each time."""
    while True:
        port = random.choice(_FOR_SERVERS)  # noqa: S311  others choose at the same time
        if port not in _given and why_not("127.0.0.1", port) is None:
            _given.add(port)
            return port


def why_not(host: str, port: int) -> str | None:
    """Why no server can listen there, in words that follow "the port"; None when one can.

    Raises:
        errors.BadSettings: the host is no address of this machine, so no port of it will do.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as attempt:
            # As servers do: connections of the last one may linger.
            attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            attempt.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return "is taken by another program"
        if error.errno in {errno.EACCES, errno.EPERM}:
            return "is not allowed to us"
        raise errors.BadSettings(f"BACKBURNER_HOST: {host} is no address of this machine ({error}).") from error
    return None
