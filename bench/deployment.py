"""Runs API, workers and sweeper as processes, with default settings except for worker slots and drain timeout."""

import contextlib
import secrets
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import psutil
import psycopg
import redis

from bench.servers import Servers
from core.bootstrap import Core, open_core
from core.settings import PREFIX, Settings
from local import ports, web
from local.processes.child import Child, Part
from local.servers import packages

WORKER_SLOTS = 1000


class Deployment:
    """API, workers and sweeper that use a separate Postgres database and a separate Valkey database.

    A part is named after its command; additional workers are named `worker-2` and so on.

    Args:
        name: name of the Postgres database.
        number: number of the Valkey database.
        models: names of the models. Each is also the name of a shape (see `bench.shapes`).
    """

    def __init__(self, servers: Servers, name: str, number: int, models: list[str]) -> None:
        self.servers = servers
        self._name = name
        self.database_url = servers.create_database(name)
        self.redis_url = servers.empty_redis_database(number)
        self.port = ports.free_port()
        self._secret_key = secrets.token_hex(32)
        self._config = self._write_config(servers.home.run / f"{name}.toml", models)
        self.settings = Settings(
            home=servers.home.path,
            database_url=self.database_url,
            redis_url=self.redis_url,
            config=self._config,
            secret_key=self._secret_key,
            worker_slots=WORKER_SLOTS,
        )
        with self.core() as core:
            self.key = core.keys.create({"no-limit"})
        self._api_processes = self.settings.api_processes
        self._children: dict[str, Child] = {}
        self._postgres = psycopg.connect(self.database_url, autocommit=True)

    def _write_config(self, path: Path, models: list[str]) -> Path:
        base_url = self.servers.model_server.base_url
        path.write_text("".join(f'[models."{model}"]\nbase_url = "{base_url}"\n' for model in models), encoding="utf-8")
        return path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop(*self._children)
        self._postgres.close()

    @contextmanager
    def core(self) -> Iterator[Core]:
        """Open the `Core` object of the deployment in this process."""
        with open_core(self.settings, connections=4) as core:
            yield core

    @property
    def pids(self) -> dict[str, int]:
        """PIDs of the running parts by name, including Postgres and Valkey."""
        shared = {name: self.servers.pids[name] for name in ("postgres", "valkey")}
        return shared | {name: child.pid for name, child in self._children.items()}

    def start(self, *names: str) -> None:
        """Start the named parts that are not running, and wait until they are ready."""
        for name in names:
            if name not in self._children:
                child = self._children[name] = Child(self._part(name), self.servers.home)
                child.wait_until_ready()
                if name == "api":
                    self._wait_for_api_processes(child.pid)

    def stop(self, *names: str) -> None:
        """Stop the named parts that are running."""
        children = [self._children.pop(name) for name in names if name in self._children]
        for child in children:
            child.send_stop_signal()
        for child in children:
            child.wait_until_stopped()

    def restart_api(self, processes: int | None = None) -> None:
        """Restart the API with the given number of processes, or with the default number."""
        self.stop("api")
        self._api_processes = processes or self.settings.api_processes
        self.start("api")

    def _wait_for_api_processes(self, pid: int) -> None:
        """Wait until every API process accepts connections; one HTTP response proves this only for one of them."""
        deadline = time.monotonic() + 30
        with contextlib.ExitStack() as connections:
            while len(self._find_connected_children(pid)) < self._api_processes:
                if time.monotonic() > deadline:
                    raise TimeoutError("Not all API processes accept connections.")
                for _ in range(8):
                    connections.enter_context(socket.create_connection(("127.0.0.1", self.port)))
                time.sleep(0.1)

    def _find_connected_children(self, pid: int) -> set[int]:
        """Return the PIDs of the child processes that have accepted a connection to the API's port."""
        return {
            child.pid
            for child in psutil.Process(pid).children()
            for connection in child.net_connections("tcp4")
            if connection.status == psutil.CONN_ESTABLISHED and connection.laddr.port == self.port
        }

    def _part(self, name: str) -> Part:
        kind = part_kind(name)
        readiness_checks: dict[str, Callable[[int], bool]] = {
            "api": lambda _: web.status(f"http://127.0.0.1:{self.port}/healthz") == 200,
            "worker": lambda pid: bool(self.sql("select 1 from workers where pid = %s", pid)),
        }
        return Part(
            name=f"{self._name}-{name}",
            argv=[sys.executable, "-m", "cli.main", kind],
            ready=readiness_checks.get(kind, lambda _: True),
            env={
                f"{PREFIX}HOME": str(self.servers.home.path),
                f"{PREFIX}DATABASE_URL": self.database_url,
                f"{PREFIX}REDIS_URL": self.redis_url,
                f"{PREFIX}CONFIG": str(self._config),
                f"{PREFIX}SECRET_KEY": self._secret_key,
                f"{PREFIX}PORT": str(self.port),
                f"{PREFIX}API_PROCESSES": str(self._api_processes),
                f"{PREFIX}WORKER_SLOTS": str(WORKER_SLOTS),
                f"{PREFIX}DRAIN_S": "1",
            },
            cwd=packages.ROOT,
            grace_s=20,
        )

    def sql(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Execute a statement and return its rows."""
        cursor = self._postgres.execute(query, parameters or None)
        return cursor.fetchall() if cursor.description else []

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send a request to the API and return the JSON object in the response."""
        return web.call(method, f"http://127.0.0.1:{self.port}/v1{path}", key=self.key, body=body)

    def count_ended(self) -> int:
        """Count the stored responses that have ended."""
        return int(self.sql("select count(*) from responses where finished_at is not null")[0][0])

    def wait_until_ended(self, count: int, timeout_s: float = 120, poll_interval_s: float = 0.1) -> None:
        """Wait until `count` responses have ended.

        Raises:
            TimeoutError: fewer responses have ended after `timeout_s`.
        """
        deadline = time.monotonic() + timeout_s
        while self.count_ended() < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"Not all of {count} responses ended within {timeout_s:.0f} s.")
            time.sleep(poll_interval_s)

    def delete_responses(self, condition: str = "true") -> None:
        """Delete the responses that meet an SQL condition, delete all queued Celery messages, and vacuum the tables."""
        self.sql(f"delete from responses where {condition}")  # noqa: S608  the condition comes from our own code
        self.vacuum_tables()
        with redis.Redis.from_url(self.redis_url) as client:
            for queue in client.scan_iter(_type="list"):
                client.delete(queue)

    def count_pending_messages(self) -> int:
        """Count the Celery messages that no worker has received."""
        with redis.Redis.from_url(self.redis_url) as client:
            return sum(int(client.llen(name)) for name in client.scan_iter(_type="list"))

    @contextmanager
    def hold_dispatch(self, *models: str) -> Iterator[None]:
        """Open the circuits of the models inside the block, so that their responses are not dispatched."""
        self.sql(
            "insert into circuits (model, open_until, cause)"
            " select model, now() + interval '1 day', 'held' from unnest(%s::text[]) as held (model)",
            list(models),
        )
        try:
            yield
        finally:
            self.sql("delete from circuits where model = any (%s)", list(models))

    def vacuum_tables(self) -> None:
        """Vacuum and analyze the tables that grow."""
        for table in ("responses", "response_events", "attempts", "items"):
            self.sql(f"vacuum (analyze, index_cleanup on) {table}")


def part_kind(name: str) -> str:
    """Return the kind of a part, such as `worker` for `worker-2`."""
    return name.partition("-")[0]


def background_body(model: str, text: str = "Say something.") -> dict[str, Any]:
    """Build the body of a background create request."""
    return {"model": model, "input": text, "background": True}
