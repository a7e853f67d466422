"""Backburner's own processes in a local stack: API, workers, sweeper and Flower."""

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from core import database
from core.database import ConnectionFailed
from core.runs import workers_sql as worker_rows
from core.settings import PREFIX, Settings
from local import ports, web
from local.processes.child import Part
from local.servers import packages

STAGE = 2  # the highest stage: these parts stop first, and together
SETTLED_S = 0.5  # a process without a readiness check counts as ready after it has run this long


@dataclass(frozen=True)
class Edges:
    """Backburner's own processes.

    Args:
        settings: complete settings, including the URLs of Postgres and Redis.
        env: environment variables that pass these settings to the processes.
    """

    settings: Settings
    env: Mapping[str, str]

    def migration(self) -> Part:
        """The process that upgrades the schema and then exits."""
        return self._part("migrate", lambda _pid: True)

    def parts(self, *, workers: int) -> list[Part]:
        settings = self.settings
        healthz = web.origin(settings.host, settings.port) + "/healthz"
        flower = web.origin(settings.host, settings.flower_port)
        names = ["worker", *(f"worker-{number}" for number in range(2, workers + 1))]
        return [
            self._part("api", lambda _pid: web.status(healthz) == 200, grace_s=settings.drain_s + 10),
            *(self._healthy(self._part(name, self._consumes, grace_s=settings.drain_s + 20)) for name in names),
            self._healthy(self._part("sweeper", _lives_for(SETTLED_S))),
            self._part("flower", lambda _pid: web.status(flower) is not None),
        ]

    def _part(self, name: str, ready: Callable[[int], bool], *, grace_s: float = 15) -> Part:
        return Part(
            name=name,
            argv=[sys.executable, "-m", "cli.main", name.partition("-")[0]],
            env=self.env,
            cwd=packages.ROOT,  # so that -m finds our packages from any working directory
            ready=ready,
            stage=STAGE,
            grace_s=grace_s,
        )

    def _healthy(self, part: Part) -> Part:
        """Give the part a free port for its health endpoint."""
        port = ports.free()
        variable = f"{PREFIX}{part.name.partition('-')[0].upper()}_HEALTH_PORT"
        return replace(
            part,
            env={**part.env, variable: str(port)},
            health=web.origin(self.settings.host, port) + "/healthz",
        )

    def _consumes(self, pid: int) -> bool:
        """Whether the worker has registered in the database as accepting work."""
        url = self.settings.database_url
        try:
            with database.connect(
                url.get_secret_value() if url else "", pooled=self.settings.database_pooled
            ) as connection:
                return any(found.pid == pid for found in worker_rows.live(connection, self.settings.worker_seen_s))
        except ConnectionFailed:
            return False


def _lives_for(seconds: float) -> Callable[[int], bool]:
    """A condition that becomes true `seconds` after its first call."""
    asked_at: list[float] = []

    def settled(_pid: int) -> bool:
        asked_at.append(time.monotonic())
        return asked_at[-1] - asked_at[0] >= seconds

    return settled
