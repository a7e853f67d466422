"""The packaged Valkey requires a password, evicts and persists nothing, and restarts at the same address."""

import os
import signal
import stat
from urllib.parse import urlsplit

import psutil
import pytest
import redis

from local.processes.supervisor import Supervisor
from local.servers import valkey
from local.servers.valkey import Valkey
from tests.harness.waiting import until


def test_the_server_evicts_nothing_and_persists_nothing(home):
    with valkey.running(home.path) as url, redis.Redis.from_url(url, decode_responses=True) as client:
        assert client.config_get("maxmemory-policy", "save", "appendonly", "bind") == {
            "maxmemory-policy": "noeviction",
            "save": "",
            "appendonly": "no",
            "bind": "127.0.0.1",
        }


def test_a_client_needs_the_password_which_ps_does_not_show(home):
    with valkey.running(home.path) as url:
        address = urlsplit(url)
        with redis.Redis(port=address.port, retry=valkey.NO_RETRY) as client, pytest.raises(redis.AuthenticationError):
            client.ping()

        pid = int(home.pid_file("valkey").read_text())
        assert address.password
        assert address.password not in " ".join(psutil.Process(pid).cmdline())
        assert stat.S_IMODE((home.run / "valkey.conf").stat().st_mode) == 0o600


def test_a_killed_server_is_restarted_at_the_same_address(home):
    server = Valkey(home)
    supervisor = Supervisor(home, print_line=lambda _line: None)
    try:
        supervisor.start(server.prepare())
        first_pid = int(home.pid_file("valkey").read_text())
        os.kill(first_pid, signal.SIGKILL)

        def read_server_pid():
            supervisor.tick()
            with redis.Redis.from_url(server.url, retry=valkey.NO_RETRY) as client:
                try:
                    return client.info("server")["process_id"]
                except redis.ConnectionError:
                    return None

        assert until(lambda: read_server_pid() not in {None, first_pid}, timeout_s=10)
    finally:
        supervisor.stop()
