"""Debian's servers for the stock suite, and a database in each state that PostgreSQL's planner may meet."""

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

import migrations
from local.home import Home
from local.processes import child
from tests.harness.waiting import until
from tests.model_server import ModelServer
from tests.stock import filling
from tests.stock.deployment import StockStack
from tests.stock.plans import Recording
from tests.stock.servers import ADMIN, TIMEOUTS, PgBouncer, Postgres, Redis


def pytest_configure(config: pytest.Config) -> None:
    # Needed if this folder is copied into a tree from before this suite, where pyproject.toml lacks the marker.
    config.addinivalue_line("markers", "stock: Debian's servers with default settings; `make stock` runs them")


@dataclass(frozen=True)
class Servers:
    """A running PostgreSQL with a PgBouncer in front, and a Redis for each stack."""

    home: Home
    postgres: Postgres
    pgbouncer: PgBouncer

    def redis(self, name: str) -> Redis:
        """The Redis that the stack of this name starts."""
        return Redis(self.home.path / f"redis-{name}")

    def errors(self, database: str) -> list[str]:
        """The errors that PostgreSQL logged for a database."""
        lines = self.home.log_file("postgres").read_text().splitlines()
        return [line for line in lines if f"@{database} ERROR:" in line or f"@{database} FATAL:" in line]


@pytest.fixture(scope="session")
def servers(request: pytest.FixtureRequest) -> Iterator[Servers]:
    """Debian's servers in a temporary folder, which is kept if a test failed."""
    # Not below pytest's own folder, which the servers' users cannot enter.
    folder = Path(tempfile.mkdtemp(prefix="backburner-stock-"))
    folder.chmod(0o755)
    home = Home.at(folder)
    postgres = Postgres(home)
    pgbouncer = PgBouncer(home, postgres)
    with child.running(postgres.prepare(), home):
        postgres.create_roles()
        with child.running(pgbouncer.prepare(), home):
            yield Servers(home, postgres, pgbouncer)
    if request.session.testsfailed:
        print(f"\nThe servers' logs are in {home.logs}.")
    else:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def migrated(servers: Servers) -> str:
    """The name of a migrated, empty database whose tables are analysed only by the tests.

    Autovacuum ignores these tables, so that no test passes only because it ran just in time.
    """
    servers.postgres.create_database("migrated")
    migrations.upgrade(servers.postgres.url("migrated"))
    with psycopg.connect(servers.postgres.url("migrated", ADMIN), autocommit=True) as connection:
        for (name,) in connection.execute("select relname from pg_stat_user_tables").fetchall():
            connection.execute(sql.SQL("alter table {} set (autovacuum_enabled = false)").format(sql.Identifier(name)))
    return "migrated"


@pytest.fixture(scope="module")
def started(
    request: pytest.FixtureRequest,
    servers: Servers,
    migrated: str,
    _model_server: ModelServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[StockStack]:
    """API, worker and sweeper on a new database, through PgBouncer if the module's `POOLED` is true."""
    # PgBouncer keeps the name `pgbouncer` for its own console.
    name = "pooled" if request.module.POOLED else "direct"
    servers.postgres.create_database(name, migrated)
    pooled_url = None
    if request.module.POOLED:
        servers.postgres.set_for_role(name, TIMEOUTS)
        pooled_url = servers.pgbouncer.url(name)
    home = tmp_path_factory.mktemp(name) / "home"
    with StockStack(home, servers.postgres.url(name), servers.redis(name), _model_server, pooled_url) as stack:
        stack.start_all()
        yield stack


@pytest.fixture(scope="module", params=["new", "analysed", "filled"])
def stack(request: pytest.FixtureRequest, started: StockStack) -> Iterator[StockStack]:
    """The stack with its database in one of the states that follow each other in an installation.

    new: no table has been analysed. analysed: all were, while they were small. filled: 100,000 responses have been
    added since, which the statistics do not reflect.
    """
    if request.param == "analysed":
        started.sql("analyze")
        until(started.idle, within_s=30, every_s=0.1)  # a new database may still have queued responses
    if request.param == "filled":
        filling.copy_ended(started.admin_url, filling.completed(started), filling.STORED)
    before = started.analyses()
    assert before == 0 or request.param != "new"
    yield started
    assert started.analyses() == before


@pytest.fixture(scope="module")
def recording(request: pytest.FixtureRequest, servers: Servers, migrated: str) -> Recording:
    """A recording of the plans of the statements sent to a new database, the module's `DATABASE`."""
    name = request.module.DATABASE
    servers.postgres.create_database(name, migrated)
    return Recording(servers.postgres, name, servers.home.log_file("postgres"))


@pytest.fixture(scope="module")
def recorded_stack(
    request: pytest.FixtureRequest,
    recording: Recording,
    servers: Servers,
    _model_server: ModelServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[StockStack]:
    """API, worker and sweeper on the database whose plans are recorded."""
    name = request.module.DATABASE
    home = tmp_path_factory.mktemp(name) / "home"
    with StockStack(home, servers.postgres.url(name), servers.redis(name), _model_server) as stack:
        stack.start_all(WAIT_IN_SLOT_S="0", WAIT_BETWEEN_S="1", FOLLOW_S="3", KEY_CACHE_S="0")
        yield stack
