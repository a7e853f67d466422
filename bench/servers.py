"""Runs the servers of a benchmark run: Postgres (with fsync on), Valkey and the scripted model server."""

import contextlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import redis
from psycopg import sql

import migrations
from local import ports, web
from local.home import Home
from local.processes.child import Child, Part, running
from local.servers import packages
from local.servers.postgres import Postgres
from local.servers.valkey import Valkey

T = TypeVar("T")


class Servers:
    """Postgres, Valkey and the model server of one benchmark run, and the programs started with `start_program`."""

    def __init__(self, home: Home, children: contextlib.ExitStack) -> None:
        self.home = home
        self._children = children
        self._postgres = Postgres(home)
        self._valkey = Valkey(home)
        self.pids: dict[str, int] = {}
        self.start(self._postgres.prepare())
        self.start(self._valkey.prepare())
        self.model_server = ModelServer(ports.free_port())
        self.start(self.model_server.part())

    def start(self, part: Part) -> Child:
        """Start a part and keep it running until the end of the benchmark."""
        child = self._children.enter_context(running(part, self.home))
        self.pids[part.name] = child.pid
        return child

    def enter(self, context: contextlib.AbstractContextManager[T]) -> T:
        """Enter a context manager that exits at the end of the benchmark, before the servers stop."""
        return self._children.enter_context(context)

    def start_program(self, name: str, module: str, *arguments: str, port: int) -> None:
        """Start `python -m module ...` until the end of the benchmark, and wait until it responds on `port`."""
        self.start(program_part(name, module, *arguments, port=port))

    def create_database(self, name: str) -> str:
        """Create a database with the current schema and return its URL."""
        with psycopg.connect(self._postgres.url, autocommit=True) as connection:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        url = self._postgres.url.replace("/backburner?", f"/{name}?")
        migrations.upgrade(url)
        return url

    def empty_redis_database(self, number: int) -> str:
        """Delete all keys of the Valkey database with this number and return its URL."""
        url = self._valkey.url.removesuffix("/0") + f"/{number}"
        with redis.Redis.from_url(url) as client:
            client.flushdb()
        return url


class ModelServer:
    """A handle of the scripted model server process."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.base_url = f"http://127.0.0.1:{port}/v1"

    def part(self) -> Part:
        """Build the part that runs the model server."""
        return program_part("model_server", "bench.model_server", str(self.port), port=self.port)

    def report(self) -> dict[str, Any]:
        """Return the counts `open`, `max_open`, `completed` and `aborted`, and in `streams` the times by tag."""
        return web.call("GET", f"http://127.0.0.1:{self.port}/streams", key="")

    def reset(self) -> None:
        """Reset the counts and delete the times; responses that are still open remain counted in `open`."""
        web.call("GET", f"http://127.0.0.1:{self.port}/reset", key="")


def program_part(name: str, module: str, *arguments: str, port: int, env: Mapping[str, str] | None = None) -> Part:
    """Build the part that runs `python -m module ...`; it is ready when it responds to HTTP on `port`."""
    return Part(
        name=name,
        argv=[sys.executable, "-m", module, *arguments],
        cwd=packages.ROOT,
        env=env or {},
        ready=lambda _: web.status(f"http://127.0.0.1:{port}/") is not None,
    )


@contextlib.contextmanager
def run_servers(folder: Path) -> Iterator[Servers]:
    """Run the servers inside the block. For realistic commit times, the data folder must be on a real disk."""
    with contextlib.ExitStack() as children:
        yield Servers(Home.at(folder), children)
