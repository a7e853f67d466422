"""Fixtures and hooks of the whole suite: Postgres, Valkey, the scripted model server, and the order of the tests."""

import gc
import itertools
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis
from psycopg.conninfo import conninfo_to_dict
from xdist.remote import Producer

import migrations
from core.bootstrap import Core, open_core
from core.settings import Settings
from local.servers import postgres, valkey
from tests import model_server
from tests.harness import scheduling
from tests.harness.progress import Progress
from tests.harness.scheduling import Scheduling
from tests.harness.stack import Stack
from tests.model_server import ModelServer

_database_numbers = itertools.count()


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Report progress at intervals in parallel runs."""
    if config.getoption("numprocesses", None):
        config.pluginmanager.register(Progress(config.pluginmanager.getplugin("terminalreporter")))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Exclude modules and collected tests from garbage collection, because they live until the end of the run."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    """Distribute the tests with `tests.harness.scheduling`, regardless of `--dist`."""
    return Scheduling(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run the longest tests first in parallel runs."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: scheduling.find_rank(item.nodeid))


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a running Postgres.

    `fsync` is off, because no test crashes the machine. Autovacuum is off, because it would spend processor time on
    hundreds of databases that are no longer used.
    """
    with postgres.running(tmp_path_factory.mktemp("postgres")) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            for setting in ("fsync", "full_page_writes", "autovacuum"):
                connection.execute(f"alter system set {setting} = off")  # type: ignore[arg-type]
            connection.execute("select pg_reload_conf()")
        yield url


def new_database(postgres_url: str, template: str = "template0") -> str:
    """Create a database as a copy of `template`; return its URL."""
    name = f"test_{next(_database_numbers)}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        # Without `fsync`, `file_copy` is the faster strategy.
        connection.execute(f"create database {name} template {template} strategy file_copy")  # type: ignore[arg-type]
    return postgres_url.replace("/backburner?", f"/{name}?")


@pytest.fixture(scope="session")
def template(postgres_url: str) -> str:
    """The name of a migrated, empty database."""
    url = new_database(postgres_url)
    migrations.upgrade(url)
    return str(conninfo_to_dict(url)["dbname"])


@pytest.fixture
def database_url(postgres_url: str, template: str) -> str:
    """The URL of a migrated database for one test."""
    return new_database(postgres_url, template)


@pytest.fixture(scope="session")
def _valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with valkey.running(tmp_path_factory.mktemp("valkey")) as url:
        yield url


@pytest.fixture
def valkey_url(_valkey: str) -> str:
    """The URL of an empty Valkey."""
    with redis.Redis.from_url(_valkey) as client:
        client.flushall()
    return _valkey


@pytest.fixture(scope="session")
def _model_server() -> Iterator[ModelServer]:
    with model_server.running() as server:
        yield server


@pytest.fixture
def models(_model_server: ModelServer) -> ModelServer:
    """The scripted model server, with its records cleared."""
    _model_server.reset()
    return _model_server


def model_config(models: ModelServer) -> str:
    """The content of a configuration file with three models.

    `scripted` has no concurrency limit, `narrow` has a limit of 2, and the server of `absent` is unreachable.
    """
    return f"""
[models.scripted]
base_url = "{models.base_url}"
timeouts = {{ first_token = 20, idle = 2, run = 60 }}
[models.narrow]
base_url = "{models.base_url}"
concurrency = 2
[models.absent]
base_url = "http://127.0.0.1:9/v1"
"""


@pytest.fixture
def config(tmp_path: Path, models: ModelServer) -> Path:
    """The path of a configuration file with the models `scripted`, `narrow` and `absent`."""
    path = tmp_path / "backburner.toml"
    path.write_text(model_config(models))
    return path


@pytest.fixture
def settings(database_url: str, valkey_url: str, config: Path, tmp_path: Path) -> Settings:
    """Settings for a core in the test's process, with a short lease."""
    return Settings(
        home=tmp_path,
        database_url=database_url,
        redis_url=valkey_url,
        config=config,
        key_cache_s=0,
        lease_s=2,
        renew_every_s=0.5,
        worker_seen_s=60,  # a worker that registers once stays live for the whole test
    )


@pytest.fixture
def core(settings: Settings) -> Iterator[Core]:
    """A core in the test's process, on the test's database."""
    with open_core(settings, connections=8) as core:
        yield core


@pytest.fixture
def stack(database_url: str, config: Path, models: ModelServer, tmp_path: Path) -> Iterator[Stack]:
    """A deployment of API, worker and sweeper processes with its own Valkey; the test starts the processes."""
    with Stack(tmp_path / "home", database_url, config, models) as stack:
        yield stack
