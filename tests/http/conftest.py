"""Fixtures: the HTTP API on the servers of the test suite."""

from collections.abc import Iterator

import pytest

from core.bootstrap import open_core
from core.settings import Settings
from tests.conftest import new_database
from tests.harness.engine import register_worker
from tests.http.http_api import Api, write_configuration


@pytest.fixture(scope="module")
def api(postgres_url: str, template: str, _valkey: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A client of the application, on a database that the tests of a module share."""
    folder = tmp_path_factory.mktemp("api")
    settings = Settings(
        home=folder,
        database_url=new_database(postgres_url, template),
        redis_url=_valkey,
        config=write_configuration(folder),
        key_cache_s=0,
        worker_seen_s=3600,
        secret_key="a key for the tests",
    )
    with open_core(settings, connections=8) as core:
        yield Api(core)


@pytest.fixture(scope="module")
def worker_api(api: Api) -> Api:
    """The same client, after the registration of a worker with capacity for all responses of the module's tests."""
    register_worker(api.core, slots=100_000)
    return api


@pytest.fixture
def other_key(api: Api) -> str:
    """An API key of the project `other`."""
    return api.core.keys.create(project="other")
