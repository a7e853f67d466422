"""Ports for servers are free, and the kernel assigns none of them to outgoing connections."""

import socket
from pathlib import Path

import pytest

from local import ports

EPHEMERAL_PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


@pytest.mark.skipif(
    not EPHEMERAL_PORT_RANGE.exists(), reason="only Linux publishes the range of ports for outgoing connections"
)
def test_server_ports_are_below_the_ports_of_outgoing_connections() -> None:
    first_ephemeral_port, _ = map(int, EPHEMERAL_PORT_RANGE.read_text().split())
    server_ports = [ports.free_port() for _ in range(50)]

    assert [port for port in server_ports if port >= first_ephemeral_port] == []


def test_each_port_is_assigned_once_and_accepts_a_listener() -> None:
    server_ports = [ports.free_port() for _ in range(50)]

    assert len(set(server_ports)) == 50
    for port in server_ports:
        socket.create_server(("127.0.0.1", port)).close()
