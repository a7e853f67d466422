"""Ports for servers are free, and remain available while a server restarts."""

import socket
from pathlib import Path

import pytest

from local import ports

OUTGOING = Path("/proc/sys/net/ipv4/ip_local_port_range")


@pytest.mark.skipif(not OUTGOING.exists(), reason="only Linux says which ports outgoing connections get")
def test_no_outgoing_connection_takes_the_port_of_a_server_while_it_restarts() -> None:
    first = int(OUTGOING.read_text().split()[0])

    assert [port for port in (ports.free() for _ in range(50)) if port >= first] == []


def test_a_port_is_given_once_and_could_be_listened_at() -> None:
    given = [ports.free() for _ in range(50)]

    assert len(set(given)) == 50
    for port in given:
        socket.create_server(("127.0.0.1", port)).close()
