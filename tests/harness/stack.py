"""Runs Backburner as processes on the servers of the suite, for tests that inject faults."""

import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import openai
import psycopg

from core.bootstrap import open_core
from core.settings import Settings
from core.tenants import rights
from local import ports, web
from local.home import Home
from local.processes.child import SHORT_GRACE_S, Child, Part
from local.servers.valkey import Valkey
from tests import stream_checker
from tests.harness.forked import ForkedChild
from tests.harness.tcp_proxy import TcpProxy
from tests.harness.waiting import until
from tests.model_server import ModelServer

ROOT = Path(__file__).resolve().parents[2]
# Short timeouts and intervals, so that the deployment detects and repairs faults within seconds.
SHORT_TIMEOUTS = {
    "LEASE_S": "3",
    "RENEW_EVERY_S": "0.5",
    "WORKER_SEEN_S": "3",
    "CLAIM_WITHIN_S": "2",
    "SWEEP_EVERY_S": "0.2",
    "WAIT_BETWEEN_S": "1",
    "WAIT_IN_SLOT_S": "1",
    "DRAIN_S": "2",
    "FOLLOW_S": "3",
}
SECRET_KEY = "a key for the tests, with 32 bytes"
# Maximum number of event logs that are validated at the end of a test.
MAX_CHECKED_LOGS = 200


class Stack:
    """The processes of one deployment, which tests start, kill and restart by name.

    A name such as `worker-2` denotes a second process of the same kind as `worker`.

    Args:
        proxied: names of the servers (`postgres`, `valkey`, `models`) to which the processes connect through a proxy;
            the tests themselves connect directly.
    """

    def __init__(
        self, home: Path, database_url: str, config: Path, models: ModelServer, *, proxied: Collection[str] = ()
    ) -> None:
        self.home = Home.at(home)
        self.database_url = database_url
        self.models = models
        self.port = ports.free_port()
        self.port_2 = ports.free_port()  # for `api-2`
        self.flower_port = ports.free_port()
        self.valkey = Valkey(self.home)
        self.settings = Settings(
            home=home, database_url=database_url, redis_url=self.valkey.url, config=config, secret_key=SECRET_KEY
        )
        with open_core(self.settings) as core:
            self.key = core.keys.create(rights.ALL_RIGHTS)
        self.children: dict[str, Child] = {}
        self._connection_lock = threading.Lock()
        # `sql` reuses one connection, because tests call it many times per second.
        self._connection: psycopg.Connection | None = None
        urls = {"postgres": database_url, "valkey": self.valkey.url, "models": models.base_url}
        self.proxies = {name: TcpProxy(urls[name]) for name in proxied}
        urls |= {name: proxy.url for name, proxy in self.proxies.items()}
        if "models" in self.proxies:
            direct_config, config = config, self.home.path / "proxied.toml"
            config.write_text(direct_config.read_text().replace(models.base_url, urls["models"]))
        self._env = {
            "BACKBURNER_HOME": str(home),
            "BACKBURNER_DATABASE_URL": urls["postgres"],
            "BACKBURNER_REDIS_URL": urls["valkey"],
            "BACKBURNER_CONFIG": str(config),
            "BACKBURNER_SECRET_KEY": SECRET_KEY,
            "BACKBURNER_PORT": str(self.port),
            "BACKBURNER_FLOWER_PORT": str(self.flower_port),
            **{f"BACKBURNER_{name}": value for name, value in SHORT_TIMEOUTS.items()},
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, failure: object, *_: object) -> None:
        self.close()
        try:
            if failure is None:
                self.check_logs()
        finally:
            self._disconnect()

    def close(self) -> None:
        """Stop all processes simultaneously, and kill those that have not ended after `SHORT_GRACE_S` seconds."""
        for child in self.children.values():
            child.send_stop_signal()
        with contextlib.suppress(AssertionError):
            until(lambda: all(child.ended() for child in self.children.values()), timeout_s=SHORT_GRACE_S)
        for child in self.children.values():
            if child.ended() is None:
                child.kill_process_group()
                until(child.ended, timeout_s=5)
        for proxy in self.proxies.values():
            proxy.close()
        self._disconnect()

    def check_logs(self) -> None:
        """Assert that the event logs of the last `MAX_CHECKED_LOGS` ended responses are valid streams."""
        for response_id, document, pruned_event_count in self.sql(
            "select id, document, events_n from responses where finished_at is not null"
            " order by finished_at desc limit %s",
            MAX_CHECKED_LOGS,
        ):
            if pruned_event_count is None:
                stream_checker.check_complete_log(self.event_log(response_id), json.loads(document))

    def event_log(self, response_id: str) -> list[stream_checker.Event]:
        """Return all events of a response, from its event log in Postgres."""
        rows = self.sql("select data from response_events where response_id = %s order by first_seq", response_id)
        return [json.loads(line) for (data,) in rows for line in data.split("\n")]

    def up(self, *names: str, **settings: str) -> "Stack":
        """Start Valkey, API, worker and sweeper, or the named processes, and wait until all of them are ready.

        Valkey starts first, because a worker that finds no broker waits two seconds before it retries. The other
        processes start simultaneously.

        Args:
            settings: settings of these processes by upper-case name, without the prefix.
        """
        names = names or ("valkey", "api", "worker", "sweeper")
        if "valkey" in names:
            self.start("valkey")
        children = [self.launch(name, **settings) for name in names if name != "valkey"]
        for child in children:
            child.wait_until_ready()
        return self

    def start(self, name: str, **settings: str) -> Child:
        """Start a process and wait until it is ready."""
        child = self.launch(name, **settings)
        child.wait_until_ready()
        return child

    def launch(self, name: str, *, env: Mapping[str, str] | None = None, **settings: str) -> Child:
        """Start a process without waiting until it is ready; `env` adds variables other than settings."""
        part = self._part(name, env or {}, settings)
        can_fork = part.argv[0] == sys.executable and not env
        child_class = ForkedChild if can_fork else Child
        child = self.children[name] = child_class(part, self.home)
        return child

    def _part(self, name: str, env: Mapping[str, str], settings: dict[str, str]) -> Part:
        if name == "valkey":
            return self.valkey.prepare()
        command = name.partition("-")[0]
        ready = {
            "api": lambda _: web.status(f"http://127.0.0.1:{self._port(name)}/healthz") == 200,
            "worker": lambda pid: bool(self.sql("select 1 from workers where pid = %s", pid)),
            "flower": lambda _: web.status(f"http://127.0.0.1:{self.flower_port}/") == 200,
        }.get(command, lambda _: True)
        return Part(
            name=name,
            argv=[sys.executable, "-m", "cli.main", command],
            ready=ready,
            env=self._env
            | {"BACKBURNER_PORT": str(self._port(name))}
            | {f"BACKBURNER_{key}": value for key, value in settings.items()}
            | dict(env),
            cwd=ROOT,
            grace_s=20,
            ready_timeout_s=30,
        )

    def _port(self, name: str) -> int:
        return self.port_2 if name == "api-2" else self.port

    def kill(self, name: str) -> None:
        """Send SIGKILL to a process and its descendants, and wait until it has ended."""
        child = self.children.pop(name)
        child.kill_process_group()
        until(child.ended, timeout_s=5)

    def stop(self, name: str) -> None:
        """Stop a process as a supervisor does."""
        child = self.children.pop(name)
        child.send_stop_signal()
        child.wait_until_stopped()

    def freeze(self, name: str) -> None:
        """Send SIGSTOP to a process and its descendants."""
        os.killpg(self.children[name].pid, signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        """Resume a frozen process."""
        os.killpg(self.children[name].pid, signal.SIGCONT)

    def log(self, name: str) -> str:
        """Return the log output of a process."""
        return self.home.log_file(name).read_text()

    @contextlib.contextmanager
    def client(self, **options: Any) -> Iterator[openai.OpenAI]:
        """Yield the official client, connected to the API."""
        with openai.OpenAI(
            base_url=f"http://127.0.0.1:{self.port}/v1", **{"api_key": self.key, "max_retries": 0, **options}
        ) as client:
            yield client

    def sql(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run a statement in Postgres; return its rows."""
        with self._connection_lock:
            is_reused = self._connection is not None
            try:
                return self._execute(query, parameters)
            except psycopg.OperationalError:
                if not is_reused or (self._connection and not self._connection.broken):
                    raise
                return self._execute(query, parameters)  # Postgres closed the connection after the previous statement

    def _execute(self, query: str, parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(self.database_url, autocommit=True, prepare_threshold=None)
        cursor = self._connection.execute(query, parameters or None)  # type: ignore[arg-type]
        return cursor.fetchall() if cursor.description else []

    def _disconnect(self) -> None:
        with self._connection_lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def all_ended(self) -> bool:
        """Whether every response in the database has ended."""
        return self.sql("select count(*) from responses where finished_at is null") == [(0,)]
