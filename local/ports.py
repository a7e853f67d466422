"""Finds free TCP ports on this machine and checks whether a server can listen on a port."""

import errno
import random
import socket

from core import errors

# Below the ephemeral port range: an outgoing connection could otherwise take a server's port while it restarts.
_FOR_SERVERS = range(20_000, 32_768)
_given: set[int] = set()


def free() -> int:
    """A TCP port that is free on the loopback address; each call in a process returns a different port."""
    while True:
        port = random.choice(_FOR_SERVERS)  # noqa: S311  random, because other processes pick ports concurrently
        if port not in _given and why_not("127.0.0.1", port) is None:
            _given.add(port)
            return port


def why_not(host: str, port: int) -> str | None:
    """Reason why no server can listen on the port, as a predicate of "the port"; None if one can.

    Raises:
        errors.BadSettings: the host is not an address of this machine, so no port can be used.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as attempt:
            # As servers do: connections of the previous server may be in TIME_WAIT.
            attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            attempt.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return "is in use by another program"
        if error.errno in {errno.EACCES, errno.EPERM}:
            return "cannot be opened without more privileges"
        raise errors.BadSettings(f"BACKBURNER_HOST: {host} is not an address of this machine ({error}).") from error
    return None
