"""Runs the complete system: all parts that `make up` starts, with the same commands and the scripted model server."""

from datetime import UTC, datetime
from typing import Any, Self

import psycopg
from pydantic import SecretStr

from bench.servers import ModelServer
from bench.whole import config
from bench.whole.config import LIMITED, UNLIMITED
from bench.whole.waiting import wait_until
from core.bootstrap import open_core
from core.settings import PREFIX, Settings
from core.tenants.keys import new_secret
from local import ports, stack
from local.backburner_parts import BackburnerParts
from local.home import Home
from local.processes.child import Child, Part
from local.servers.postgres import Postgres
from local.servers.valkey import Valkey

# More slots than any measurement has running responses; with `make up`, a worker has 200 slots.
WORKER_SLOTS = 1_200
# The servers start before Backburner's own parts and stop after them.
SERVERS = ("postgres", "valkey")
BACKBURNER_PARTS = ("api", "worker", "sweeper", "flower")


class System:
    """Context manager that runs Postgres, Valkey, API, worker, sweeper and Flower with a separate data folder.

    The settings differ from those of `make up` in the ports, the number of worker slots and the drain timeout.

    Args:
        model_server: the model server. When responses are deleted, no other client may have open requests to it.
        paced_model_shape: shape of the paced models.

    Attributes:
        home: the data folder.
        port: port of the API.
        keys: API keys by project.
    """

    def __init__(self, home: Home, model_server: ModelServer, paced_model_shape: str) -> None:
        self.home = home
        self._model_server = model_server
        self.keys: dict[str, str] = {}
        postgres, valkey = Postgres(home), Valkey(home)
        config_file = home.run / "models.toml"
        config_file.write_text(config.config_text(model_server.base_url, paced_model_shape), encoding="utf-8")
        self._settings = Settings(
            home=home.path,
            port=ports.free_port(),
            flower_port=ports.free_port(),
            config=config_file,
            database_url=SecretStr(postgres.url),
            redis_url=SecretStr(valkey.url),
            api_key=SecretStr(new_secret()),
            secret_key=SecretStr(new_secret()),
            worker_slots=WORKER_SLOTS,
            drain_s=1,
        )
        self._backburner_parts = BackburnerParts(self._settings, self._environment())
        parts = [postgres.prepare(), valkey.prepare(), *self._backburner_parts.parts(workers=1)]
        self._parts: dict[str, Part] = {part.name: part for part in parts}
        self._children: dict[str, Child] = {}
        self._postgres: psycopg.Connection[tuple[Any, ...]] | None = None
        self._preserved_until = datetime.min.replace(tzinfo=UTC)

    def _environment(self) -> dict[str, str]:
        overrides = {"HOME": self.home.path, "WORKER_SLOTS": WORKER_SLOTS, "DRAIN_S": self._settings.drain_s}
        return stack.environment_variables(self._settings) | {
            PREFIX + name: str(value) for name, value in overrides.items()
        }

    @property
    def port(self) -> int:
        return self._settings.port

    @property
    def database_url(self) -> str:
        assert self._settings.database_url is not None
        return self._settings.database_url.get_secret_value()

    @property
    def pids(self) -> dict[str, int]:
        """PIDs of all running parts, by name."""
        return {name: child.pid for name, child in self._children.items()}

    def __enter__(self) -> Self:
        try:
            self.start(*SERVERS)
            self._migrate()
            with open_core(self._settings, connections=4) as core:
                self.keys = {project.name: core.keys.create((), project.name) for project in (LIMITED, UNLIMITED)}
            self.start(*BACKBURNER_PARTS)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._disconnect()
        self.stop(*BACKBURNER_PARTS)
        self.stop(*reversed(SERVERS))

    def _migrate(self) -> None:
        migration = Child(self._backburner_parts.migration(), self.home)
        try:
            migration.wait_for_success()
        finally:
            migration.send_stop_signal()
            migration.wait_until_stopped()

    def start(self, *names: str) -> None:
        """Start the named parts that are not running, concurrently, and wait until all of them are ready."""
        new_names = [name for name in names if name not in self._children]
        for name in new_names:
            self._children[name] = Child(self._parts[name], self.home)
        for name in new_names:
            self._children[name].wait_until_ready()

    def stop(self, *names: str) -> None:
        """Stop the named parts that are running, concurrently."""
        children = [self._children.pop(name) for name in names if name in self._children]
        for child in children:
            child.send_stop_signal()
        for child in children:
            child.wait_until_stopped()

    def restart(self) -> None:
        """Restart all parts, so that memory is measured in new processes."""
        self._disconnect()
        self.stop(*BACKBURNER_PARTS)
        self.stop(*SERVERS)
        self.start(*SERVERS)
        self.start(*BACKBURNER_PARTS)

    def sql(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Execute a statement over the connection of this object and return its rows."""
        if self._postgres is None:
            self._postgres = psycopg.connect(self.database_url, autocommit=True)
        cursor = self._postgres.execute(query, parameters or None)
        return cursor.fetchall() if cursor.description else []

    def _disconnect(self) -> None:
        if self._postgres is not None:
            self._postgres.close()
        self._postgres = None

    def count_responses(self, status: str) -> int:
        """Count the responses with this status."""
        return int(self.sql("select count(*) from responses where status = %s", status)[0][0])

    def preserve_responses(self) -> None:
        """Exclude all existing responses from deletion by `delete_responses`."""
        ((self._preserved_until,),) = self.sql("select now()")
        self._vacuum_tables()

    def delete_responses(self) -> None:
        """Delete all responses created since `preserve_responses`, and wait until the worker has aborted their runs."""
        self.sql("delete from responses where created_at > %s", self._preserved_until)
        self.sql("delete from usage_ledger")
        self._vacuum_tables()
        wait_until(lambda: not self._model_server.report()["open"], "the end of the requests of deleted responses")

    def _vacuum_tables(self) -> None:
        for table in ("responses", "response_events", "attempts", "items", "usage_ledger"):
            self.sql(f"vacuum (analyze, index_cleanup on) {table}")
