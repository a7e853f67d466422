"""The packaged Valkey is private, evicts nothing, and restarts at the same address."""

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


def test_it_evicts_nothing_and_writes_nothing(home):
    with valkey.running(home.path) as url, redis.Redis.from_url(url, decode_responses=True) as client:
        assert client.config_get("maxmemory-policy", "save", "appendonly", "bind") == {
            "maxmemory-policy": "noeviction",
            "save": "",
            "appendonly": "no",
            "bind": "127.0.0.1",
        }


def test_nobody_gets_in_without_its_password_which_ps_does_not_show(home):
    with valkey.running(home.path) as url:
        address = urlsplit(url)
        with redis.Redis(port=address.port, retry=valkey.ONCE) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()

        pid = int(home.pid_file("valkey").read_text())
        assert address.password
        assert address.password not in " ".join(psutil.Process(pid).cmdline())
        assert stat.S_IMODE((home.run / "valkey.conf").stat().st_mode) == 0o600


def test_a_killed_one_comes_back_at_the_same_address(home):
    server = Valkey(home)
    supervisor = Supervisor(home, say=lambda _line: None)
    try:
        supervisor.start(server.prepare())
        first = int(home.pid_file("valkey").read_text())
        os.kill(first, signal.SIGKILL)

        def answers():
            supervisor.tick()
            with redis.Redis.from_url(server.url, retry=valkey.ONCE) as client:
                try:
                    return client.info("server")["process_id"]
                except redis.ConnectionError:
                    return None

        assert until(lambda: answers() not in {None, first}, within_s=10)
    finally:
        supervisor.stop()
