"""A deployment for all tests that stop no process, because starting a deployment takes longer than most tests."""

from collections.abc import Iterator

import pytest

from tests.conftest import model_config, new_database
from tests.harness.stack import Stack
from tests.harness.waiting import until
from tests.model_server import ModelServer


@pytest.fixture(scope="package")
def _shared_stack(
    postgres_url: str, template: str, _model_server: ModelServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("shared_stack")
    config = folder / "backburner.toml"
    config.write_text(model_config(_model_server))
    with Stack(folder / "home", new_database(postgres_url, template), config, _model_server) as stack:
        stack.up(PING_S="1")
        stack.start("api-2", PING_S="1")
        yield stack


@pytest.fixture
def shared_stack(_shared_stack: Stack, models: ModelServer) -> Iterator[Stack]:
    """A running stack with two API processes, which tests must not stop; it still stores responses of earlier tests."""
    yield _shared_stack
    until(_shared_stack.all_ended)
