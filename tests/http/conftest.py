"""The HTTP API on the suite's servers."""

from collections.abc import Iterator

import pytest

from core.bootstrap import open_core
from core.settings import Settings
from tests.conftest import new_database
from tests.harness.engine import worker
from tests.http.http_api import Api, configuration


@pytest.fixture(scope="module")
def api(postgres_url: str, template: str, _valkey: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """The application on a database shared by a module's tests; refused requests leave nothing behind in it."""
    folder = tmp_path_factory.mktemp("api")
    settings = Settings(
        home=folder,
        database_url=new_database(postgres_url, template),
        redis_url=_valkey,
        config=configuration(folder),
        key_cache_s=0,
        worker_seen_s=3600,
        secret_key="a key of the tests' own",
    )
    with open_core(settings, connections=8) as core:
        yield Api(core)


@pytest.fixture(scope="module")
def running(api: Api) -> Api:
    """The same, with a worker that has capacity for everything the module's tests run."""
    worker(api.core, slots=100_000)
    return api


@pytest.fixture
def other(api: Api) -> str:
    """A key of another project."""
    return api.core.keys.create(project="other")
