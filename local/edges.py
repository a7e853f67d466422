"""Backburner's own processes in a local stack: API, workers, sweeper and Flower."""

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from core import database
from core.database import ConnectionFailed
from core.runs import workers_sql
from core.settings import PREFIX, Settings
from local import ports, web
from local.processes.child import Part
from local.servers import packages

STAGE = 2  # the highest stage: these parts stop first, simultaneously
MIN_UPTIME_S = 0.5  # a process without a readiness check is ready after this time


@dataclass(frozen=True)
class Edges:
    """Backburner's own processes.

    Args:
        settings: complete settings, including the URLs of Postgres and Redis.
        env: environment variables that contain these settings, for the processes.
    """

    settings: Settings
    env: Mapping[str, str]

    def migration(self) -> Part:
        """The process that upgrades the schema and then exits."""
        return self._build_part("migrate", lambda _pid: True)

    def parts(self, *, workers: int) -> list[Part]:
        """The processes that run until the stack stops, with the given number of workers."""
        settings = self.settings
        healthz = web.origin(settings.host, settings.port) + "/healthz"
        flower = web.origin(settings.host, settings.flower_port)
        names = ["worker", *(f"worker-{number}" for number in range(2, workers + 1))]
        return [
            self._build_part("api", lambda _pid: web.status(healthz) == 200, grace_s=settings.drain_s + 10),
            *(
                self._add_health_port(self._build_part(name, self._is_registered, grace_s=settings.drain_s + 20))
                for name in names
            ),
            self._add_health_port(self._build_part("sweeper", _uptime_condition(MIN_UPTIME_S))),
            self._build_part("flower", lambda _pid: web.status(flower) is not None),
        ]

    def _build_part(self, name: str, ready: Callable[[int], bool], *, grace_s: float = 15) -> Part:
        return Part(
            name=name,
            argv=[sys.executable, "-m", "cli.main", name.partition("-")[0]],
            env=self.env,
            cwd=packages.ROOT,  # so that -m finds our packages from any working directory
            ready=ready,
            stage=STAGE,
            grace_s=grace_s,
        )

    def _add_health_port(self, part: Part) -> Part:
        """Return the part with a free port for its health endpoint."""
        port = ports.free_port()
        variable = f"{PREFIX}{part.name.partition('-')[0].upper()}_HEALTH_PORT"
        return replace(
            part,
            env={**part.env, variable: str(port)},
            health_url=web.origin(self.settings.host, port) + "/healthz",
        )

    def _is_registered(self, pid: int) -> bool:
        """Whether the worker has registered in the database as accepting work."""
        url = self.settings.database_url
        try:
            with database.connect(
                url.get_secret_value() if url else "", pooled=self.settings.database_pooled
            ) as connection:
                return workers_sql.is_live(connection, pid, worker_seen_s=self.settings.worker_seen_s)
        except ConnectionFailed:
            return False


def _uptime_condition(seconds: float) -> Callable[[int], bool]:
    """A condition that becomes true `seconds` after its first call."""
    call_times: list[float] = []

    def has_min_uptime(_pid: int) -> bool:
        call_times.append(time.monotonic())
        return call_times[-1] - call_times[0] >= seconds

    return has_min_uptime
