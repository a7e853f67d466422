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
class BackburnerParts:
    """Backburner's own processes as parts of a stack.

    Args:
        settings: complete settings, including the URLs of Postgres and Redis.
        env: environment variables that contain these settings, for the processes.
    """

    settings: Settings
    env: Mapping[str, str]

    def migration(self) -> Part:
        """Return the part that upgrades the schema and then exits."""
        return self._build_part("migrate", lambda _pid: True)

    def parts(self, *, workers: int) -> list[Part]:
        """Return the parts that run until the stack stops, with this number of workers."""
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
            argv=[sys.executable, "-m", "cli.main", _command(name)],
            env=self.env,
            cwd=packages.ROOT,  # where `-m` finds the package `cli`
            ready=ready,
            stage=STAGE,
            grace_s=grace_s,
        )

    def _add_health_port(self, part: Part) -> Part:
        """Return the part with a free port for its health endpoint."""
        port = ports.free_port()
        variable = f"{PREFIX}{_command(part.name).upper()}_HEALTH_PORT"
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


def _command(part_name: str) -> str:
    """Return the command of a part; that of the part `worker-2` is `worker`."""
    return part_name.partition("-")[0]


def _uptime_condition(min_uptime_s: float) -> Callable[[int], bool]:
    """Return a condition that is true from `min_uptime_s` seconds after its first call."""
    first_call_at: float | None = None

    def has_min_uptime(_pid: int) -> bool:
        nonlocal first_call_at
        now = time.monotonic()
        first_call_at = now if first_call_at is None else first_call_at
        return now - first_call_at >= min_uptime_s

    return has_min_uptime
