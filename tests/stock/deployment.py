"""Backburner as processes on Debian's servers, connected to PostgreSQL directly or through PgBouncer."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg

from local.processes.child import Part
from tests.harness.stack import Stack
from tests.model_server import ModelServer
from tests.stock.servers import ADMIN, ROLE, Redis

# Short timeouts, so that recovery completes within seconds. All other timeouts keep their defaults, because a slow
# machine may need the defaults.
SHORT_TIMEOUTS = {
    "LEASE_S": "3",
    "RENEW_EVERY_S": "0.5",
    "WORKER_SEEN_S": "3",
    "CLAIM_WITHIN_S": "5",
    "SWEEP_EVERY_S": "0.5",
    "DRAIN_S": "1",
}
PARTS = ("api", "worker", "sweeper")
CONCURRENCY = 12
RUNNING_LIMIT = 4
# `narrow` has a `concurrency`, `scripted` its own `running` limit; `tight` and `lonely` have credits for two requests.
CONFIG = """
[models.narrow]
base_url = "{url}"
concurrency = {concurrency}
[models.scripted]
base_url = "{url}"
[models.wide]
base_url = "{url}"
[projects.default.limits."*"]
requests_per_minute = 60_000
tokens_per_minute = 100_000_000
running = 100
queued = 1000
[projects.default.limits.scripted]
requests_per_minute = 60_000
tokens_per_minute = 100_000_000
running = {running_limit}
queued = 1000
[projects.tight.limits."*"]
requests_per_minute = 2
tokens_per_minute = 100_000
queued = 1
running = 1
[projects.lonely.limits."*"]
requests_per_minute = 2
"""


class StockStack(Stack):
    """A `Stack` with Debian's Redis, and with PgBouncer in front of PostgreSQL if `pooled_url` is not None.

    The statements of the tests are sent directly to PostgreSQL, as a superuser.
    """

    def __init__(
        self, home: Path, database_url: str, redis: Redis, models: ModelServer, pooled_url: str | None = None
    ) -> None:
        config = home.with_suffix(".toml")
        config.write_text(CONFIG.format(url=models.base_url, concurrency=CONCURRENCY, running_limit=RUNNING_LIMIT))
        super().__init__(home, database_url, config, models)
        self._redis = redis
        self._env |= {f"BACKBURNER_{name}": value for name, value in SHORT_TIMEOUTS.items()}
        self._env["BACKBURNER_REDIS_URL"] = redis.url
        if pooled_url is not None:
            self._env |= {"BACKBURNER_DATABASE_URL": pooled_url, "BACKBURNER_DATABASE_POOLED": "1"}

    @property
    def database(self) -> str:
        """The name of the database."""
        return self.database_url.rpartition("/")[2]

    @property
    def admin_url(self) -> str:
        """The URL of the database for a superuser."""
        return self.database_url.replace(f"//{ROLE}:", f"//{ADMIN}:", 1)

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables of the processes and of commands."""
        return dict(self._env)

    def start_all(self, **settings: str) -> None:
        """Start Redis, then API, worker and sweeper simultaneously, and wait until all of them are ready."""
        self._env |= {f"BACKBURNER_{name}": value for name, value in settings.items()}
        self.start("redis")
        self.start_simultaneously(*PARTS)

    def sql(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run a statement as the tests' superuser, without the settings of the deployment's role; return its rows."""
        with psycopg.connect(self.admin_url, autocommit=True) as connection:
            cursor = connection.execute(query, parameters or None)
            return cursor.fetchall() if cursor.description else []

    def is_idle(self) -> bool:
        """Whether no response is waiting or running."""
        return self.sql("select 1 from responses where status in ('queued', 'in_progress') limit 1") == []

    def count_analyses(self) -> int:
        """Count how many times PostgreSQL has analyzed a table of the database."""
        ((count,),) = self.sql("select sum(analyze_count + autoanalyze_count) from pg_stat_user_tables")
        return int(count)

    def start_simultaneously(self, *names: str) -> None:
        """Start the named processes, and wait until all of them are ready."""
        for child in [self.launch(name) for name in names]:
            child.wait_until_ready()

    def _part(self, name: str, env: Mapping[str, str], settings: dict[str, str]) -> Part:
        return self._redis.prepare() if name == "redis" else super()._part(name, env, settings)
