"""The HTTP edge over servers of the suite's own."""

from collections.abc import Iterator

import pytest

from core.bootstrap import open_core
from core.settings import Settings
from tests.conftest import new_database
from tests.integration.http_api import Api, configuration


@pytest.fixture(scope="module")
def api(postgres_url: str, template: str, _valkey: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """The application over a database that a module's tests share: what one refuses leaves nothing to the next."""
    folder = tmp_path_factory.mktemp("api")
    settings = Settings(
        home=folder,
        database_url=new_database(postgres_url, template),
        redis_url=_valkey,
        config=configuration(folder),
        key_cache_s=0,
    )
    with open_core(settings, connections=4) as core:
        yield Api(core)
