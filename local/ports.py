"""Finds free TCP ports on this machine and checks whether a server can listen on a port."""

import errno
import random
import socket

from core import errors

# Below Linux's ephemeral ports, so that no outgoing connection takes the port of a server while the server restarts.
_SERVER_PORTS = range(20_000, 32_768)
_assigned_ports: set[int] = set()


def free_port() -> int:
    """A TCP port that is free on the loopback address; each call in a process returns a different port."""
    while True:
        port = random.choice(_SERVER_PORTS)  # noqa: S311  random, because other processes choose ports concurrently
        if port not in _assigned_ports and listen_problem("127.0.0.1", port) is None:
            _assigned_ports.add(port)
            return port


def listen_problem(host: str, port: int) -> str | None:
    """The reason why no server can listen on the port, as a phrase to print after "port N"; None if a server can.

    Raises:
        errors.BadSettings: the host is not an address of this machine, so no port can be used.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as server_socket:
            # Servers set this option, too: connections of the previous server may be in TIME_WAIT.
            server_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server_socket.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return "is in use by another program"
        if error.errno in {errno.EACCES, errno.EPERM}:
            return "cannot be opened without more privileges"
        raise errors.BadSettings(f"BACKBURNER_HOST: {host} is not an address of this machine ({error}).") from error
    return None
