"""A complete deployment with its own Postgres, which the scenarios break and repair repeatedly."""

import contextlib
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import migrations
from local.home import Home
from local.processes.child import Child
from local.servers.postgres import Postgres
from tests import invariants
from tests.harness.stack import Stack
from tests.harness.tcp_proxy import TcpProxy
from tests.harness.waiting import until
from tests.model_server import ModelServer
from tests.model_server.script import STARTS_OVER_MODEL

WORKERS = ("worker", "worker-2", "worker-3")
PARTS = ("valkey", "api", "api-2", "sweeper", *WORKERS)
DISK_SIZE = "512m"
# Slots per worker. The total is below the number of responses in a scenario, so that some wait for dispatch.
SLOTS = 6
# `first_token` and `idle` limit the time until the first token and the time between two tokens.
CONFIG = """
[models.scripted]
base_url = "{url}"
on_worker_lost = "continue"
timeouts = {{ first_token = 6, idle = 2, run = 60 }}
[models.starting-over]
base_url = "{url}"
upstream_model = "{starts_over_model}"
on_worker_lost = "continue"
supports = ["continue", "tools", "json_schema"]
timeouts = {{ first_token = 6, idle = 2, run = 60 }}
"""


class Rig:
    """API processes, workers, sweepers, Valkey and Postgres, with proxies in front of all servers."""

    def __init__(self, folder: Path, models: ModelServer, parts: tuple[str, ...] = PARTS, slots: int = SLOTS) -> None:
        """Start the deployment with these parts, and with `slots` slots per worker."""
        self.parts = parts
        self.slots = slots
        self.models = models
        self.disk = folder / "disk"
        self.disk.mkdir(parents=True)
        mount_command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_SIZE}", "tmpfs", str(self.disk)]
        self.has_disk = (
            os.geteuid() == 0 and subprocess.run(mount_command, check=False, capture_output=True).returncode == 0
        )
        self._home = Home.at(self.disk / "home")
        self._postgres = Postgres(self._home)
        self._postgres_process = self._start_postgres()
        migrations.upgrade(self._postgres.url)
        config = folder / "backburner.toml"
        config.write_text(CONFIG.format(url=models.base_url, starts_over_model=STARTS_OVER_MODEL))
        self.stack = Stack(
            folder / "home", self._postgres.url, config, models, proxied=("postgres", "valkey", "models")
        )
        invariants.watch_ends(self.stack)
        # One proxy for each worker, so that a fault can cut a single worker off from Postgres.
        self.worker_proxies = {name: TcpProxy(self._postgres.url) for name in self.workers}
        self.run_id = ""  # the ID of the current run, which is the prefix of its tags
        self.run_count = 0
        self.crashes: list[str] = []  # processes that ended without a request to stop, with their exit status
        self.is_broken = False  # whether a run has left the deployment in an unknown state
        self._modified_processes: set[str] = set()  # processes that run in a modified environment
        self._sweeper_starts: dict[str, int] = {}  # how many times each sweeper has started, by name
        self._never = threading.Event()  # never set, so that a wait for it ends only at the timeout
        try:
            self.repair()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Stop all processes and remove their data."""
        for proxy in self._all_proxies():
            proxy.pass_on()
        self.stack.close()
        for proxy in self.worker_proxies.values():
            proxy.close()
        self._postgres_process.send_stop_signal()
        self._postgres_process.wait_until_stopped(should_hurry=lambda: True)
        if self.has_disk:
            subprocess.run(["umount", "-l", str(self.disk)], check=False)
        shutil.rmtree(self.disk, ignore_errors=True)

    @property
    def workers(self) -> list[str]:
        """The names of the workers."""
        return [name for name in self.parts if name.startswith("worker")]

    def _all_proxies(self) -> list[TcpProxy]:
        return [*self.stack.proxies.values(), *self.worker_proxies.values()]

    def proxies(self, server: str) -> list[TcpProxy]:
        """The proxies in front of one server."""
        return [self.stack.proxies[server], *(self.worker_proxies.values() if server == "postgres" else ())]

    def repair(self) -> None:
        """Repair the deployment as supervisors and operators do: restart ended processes, and end network faults."""
        for proxy in self._all_proxies():
            proxy.pass_on()
        if self._postgres_process.ended() is not None:
            self._postgres_process = self._start_postgres()
        started_children: list[Child] = []
        for name in self.parts:
            child = self.stack.children.get(name)
            if child is not None and child.ended() is None:
                self.stack.thaw(name)
                continue
            if child is not None:
                self.crashes.append(f"{name}: {child.ended()}")
            started_children.append(self.launch(name))
        for child in started_children:
            child.wait_until_ready()
        # A sweeper that loses Postgres during startup exits and relies on its supervisor. No scenario tests that, so
        # wait until each sweeper runs.
        for name in [child.part.name for child in started_children if child.part.name.startswith("sweeper")]:
            starts_before = self._sweeper_starts.get(name, 0)
            until(lambda name=name, count=starts_before: self._count_sweeper_starts(name) > count, timeout_s=30)
            self._sweeper_starts[name] = self._count_sweeper_starts(name)

    def _count_sweeper_starts(self, name: str) -> int:
        """How many times a sweeper has started, according to its log."""
        return self.stack.log(name).count("msg=sweeping ")

    def launch(self, name: str, env: Mapping[str, str] | None = None) -> Child:
        """Start a process; `env` modifies its environment until the end of the scenario."""
        settings = {"PING_S": "1"}
        if name in self.worker_proxies:
            settings |= {"WORKER_SLOTS": str(self.slots), "DATABASE_URL": self.worker_proxies[name].url}
        if env:
            self._modified_processes.add(name)
        return self.stack.launch(name, env=env, **settings)

    def restore(self) -> None:
        """Repair the deployment, and restart processes that run in a modified environment."""
        for name in self._modified_processes:
            self.stack.kill(name)
        self._modified_processes.clear()
        self.repair()

    def pause(self, duration_s: float) -> None:
        """Wait for the duration of a fault."""
        self._never.wait(duration_s)

    def _start_postgres(self) -> Child:
        server = Child(self._postgres.prepare(), self._home)
        server.wait_until_ready()
        return server

    def crash_postgres(self) -> None:
        """Stop Postgres as `pg_ctl stop -m immediate` does: no disconnect messages, no checkpoint."""
        os.kill(self._postgres_process.pid, signal.SIGQUIT)
        until(self._postgres_process.ended, timeout_s=10)

    def start_postgres(self) -> None:
        """Start Postgres again; it recovers from its WAL first."""
        self._postgres_process = self._start_postgres()

    @contextlib.contextmanager
    def full_disk(self) -> Iterator[None]:
        """Fill the disk of Postgres until the end of the block."""
        filler = self.disk / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(1024 * 1024))
        with filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        try:
            yield
        finally:
            filler.unlink()

    def postgres_log(self) -> str:
        """The log of Postgres."""
        return self._home.log_file("postgres").read_text()

    def terminate_backends(self) -> None:
        """Terminate all other Postgres connections of the deployment."""
        self.stack.sql(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )

    def wait_for_tokens(self, count: int, timeout_s: float = 20) -> None:
        """Wait until the responses of this run have produced `count` more tokens or have all ended."""
        token_sum_query = (
            "select coalesce(sum(e.tokens), 0) from response_events e join responses r on r.id = e.response_id"
            " where r.metadata->>'run' = %s"
        )
        token_goal = self.stack.sql(token_sum_query, self.run_id)[0][0] + count
        until(
            lambda: self.stack.sql(token_sum_query, self.run_id)[0][0] >= token_goal or self.open_count() == 0,
            timeout_s=timeout_s,
        )

    def open_count(self) -> int:
        """The number of responses of this run that have not ended."""
        return self.stack.sql(
            "select count(*) from responses where finished_at is null and metadata->>'run' = %s", self.run_id
        )[0][0]

    def running_count(self) -> int:
        """The number of responses in progress, of all runs."""
        return self.stack.sql("select count(*) from responses where status = 'in_progress'")[0][0]

    def worker_id(self, name: str) -> str:
        """The ID of a worker in Postgres."""
        pid = self.stack.children[name].pid
        return self.stack.sql("select id from workers where pid = %s order by seen_at desc", pid)[0][0]

    def running_tags(self, name: str) -> list[str]:
        """The tags, as sent to the model server, of the responses that a worker runs."""
        numbers_query = "select metadata->>'number' from responses where status = 'in_progress' and worker_id = %s"
        return [f"{self.run_id}-{row[0]}" for row in self.stack.sql(numbers_query, self.worker_id(name))]

    def model_requests(self, tag: str) -> list[dict[str, Any]]:
        """The requests that the model server has received with this tag, oldest first."""
        return self.models.stats(tag)["by_tag"][tag]
