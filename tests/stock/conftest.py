"""Fixtures of the stock suite: Debian's servers, and a database in each state of the planner's statistics."""

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
    # pyproject.toml lacks the marker if this folder is copied into an older worktree.
    config.addinivalue_line("markers", "stock: Debian's servers with default settings; `make stock` runs them")


@dataclass(frozen=True)
class Servers:
    """A running PostgreSQL with a running PgBouncer in front of it, and a Redis for each stack."""

    home: Home
    postgres: Postgres
    pgbouncer: PgBouncer

    def create_redis(self, name: str) -> Redis:
        """Return the Redis for the stack of this name; it is not started yet."""
        return Redis(self.home.path / f"redis-{name}")

    def read_errors(self, database: str) -> list[str]:
        """Return the errors that PostgreSQL logged for a database."""
        lines = self.home.log_file("postgres").read_text().splitlines()
        return [line for line in lines if f"@{database} ERROR:" in line or f"@{database} FATAL:" in line]


@pytest.fixture(scope="session")
def servers(request: pytest.FixtureRequest) -> Iterator[Servers]:
    """Debian's servers in a temporary folder; the folder remains if a test failed."""
    # The system users of the servers cannot enter pytest's temporary folder.
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
def migrated_database(servers: Servers) -> str:
    """The name of an empty, migrated database; copies of it are analyzed only by the tests.

    Autovacuum ignores its tables, so that no test passes only because autovacuum ran before the test.
    """
    servers.postgres.create_database("migrated_database")
    migrations.upgrade(servers.postgres.url("migrated_database"))
    with psycopg.connect(servers.postgres.url("migrated_database", ADMIN), autocommit=True) as connection:
        for (name,) in connection.execute("select relname from pg_stat_user_tables").fetchall():
            connection.execute(sql.SQL("alter table {} set (autovacuum_enabled = false)").format(sql.Identifier(name)))
    return "migrated_database"


@pytest.fixture(scope="module")
def running_stack(
    request: pytest.FixtureRequest,
    servers: Servers,
    migrated_database: str,
    _model_server: ModelServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[StockStack]:
    """API, worker and sweeper on a new database, through PgBouncer if the module's `POOLED` is true."""
    # The database cannot be named `pgbouncer`, because PgBouncer reserves this name for its console.
    name = "pooled" if request.module.POOLED else "direct"
    servers.postgres.create_database(name, migrated_database)
    pooled_url = None
    if request.module.POOLED:
        servers.postgres.set_role_variables(name, TIMEOUTS)
        pooled_url = servers.pgbouncer.url(name)
    home = tmp_path_factory.mktemp(name) / "home"
    with StockStack(home, servers.postgres.url(name), servers.create_redis(name), _model_server, pooled_url) as stack:
        stack.start_all()
        yield stack


@pytest.fixture(scope="module", params=["new", "analyzed", "filled"])
def stack(request: pytest.FixtureRequest, running_stack: StockStack) -> Iterator[StockStack]:
    """The stack with its database in one of the states through which an installation passes.

    - new: no table has been analyzed.
    - analyzed: all tables were analyzed while they were small.
    - filled: 100,000 responses were added after the analysis, so the statistics are outdated.
    """
    if request.param == "analyzed":
        running_stack.sql("analyze")
        # The tests on the new database may have left queued responses.
        until(running_stack.is_idle, timeout_s=30, first_pause_s=0.1)
    if request.param == "filled":
        filling.copy_ended_responses(
            running_stack.admin_url, filling.create_completed_responses(running_stack), filling.ENDED_COUNT
        )
    analysis_count = running_stack.count_analyses()
    assert analysis_count == 0 or request.param != "new"
    yield running_stack
    assert running_stack.count_analyses() == analysis_count


@pytest.fixture(scope="module")
def recording(request: pytest.FixtureRequest, servers: Servers, migrated_database: str) -> Recording:
    """A recording of the plans of all statements sent to a new database, named by the module's `DATABASE`."""
    name = request.module.DATABASE
    servers.postgres.create_database(name, migrated_database)
    return Recording(servers.postgres, name, servers.home.log_file("postgres"))


@pytest.fixture(scope="module")
def recorded_stack(
    request: pytest.FixtureRequest,
    recording: Recording,
    servers: Servers,
    _model_server: ModelServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[StockStack]:
    """API, worker and sweeper on the database with recorded plans."""
    name = request.module.DATABASE
    home = tmp_path_factory.mktemp(name) / "home"
    with StockStack(home, servers.postgres.url(name), servers.create_redis(name), _model_server) as stack:
        stack.start_all(WAIT_IN_SLOT_S="0", WAIT_BETWEEN_S="1", FOLLOW_S="3", KEY_CACHE_S="0")
        yield stack
