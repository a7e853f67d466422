"""A run keeps its model, and servers keep their state, when the configuration changes."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from core import errors
from core.bootstrap import Core
from core.config import catalog
from core.config.live_catalog import LiveCatalog
from core.runs.attempt import Attempt
from core.wire.items import user_message
from tests.harness.engine import claim, create_caller, register_worker, submit
from tests.model_server import ModelServer
from tests.model_server.script import STARTS_OVER_MODEL
from worker.models.chat_completions.server import ChatCompletions
from worker.models.continuation import ContinuationProbe
from worker.models.endpoints import Endpoint
from worker.models.tokenizers import Tokenizers
from worker.served_models import ServedModel, ServedModels


class Configuration:
    """A configuration file, and the models that a worker serves according to it."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        path.write_text(text)
        self._live_catalog = LiveCatalog(path, catalog.load(path))
        self._served_models = ServedModels(self._live_catalog)

    def change(self, text: str) -> None:
        self._path.write_text(text)
        self._live_catalog.reload()
        assert self._live_catalog.state == "ok"

    def model(self, name: str = "a") -> ServedModel:
        model = self._served_models.find_model(name)
        assert model is not None
        return model

    def has_model(self, name: str) -> bool:
        return self._served_models.find_model(name) is not None


def servers_line(*hosts: str) -> str:
    """The line of a model's table with the URLs of servers on these hosts."""
    return "base_urls = [" + ", ".join(f'"http://{host}/v1"' for host in hosts) + "]\n"


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    return Configuration(tmp_path / "backburner.toml", f"[models.a]\n{servers_line('h1', 'h2')}")


def choose_endpoint(model: ServedModel) -> Endpoint:
    endpoint = model.endpoints.choose_endpoint({})
    assert endpoint is not None
    return endpoint


def test_a_model_is_known_from_the_reload_that_adds_it_until_a_reload_removes_it(configuration: Configuration) -> None:
    removed_model = configuration.model()
    assert not configuration.has_model("b")
    configuration.change(f"[models.b]\n{servers_line('h3')}")

    assert configuration.has_model("b")
    assert not configuration.has_model("a")
    assert choose_endpoint(removed_model).base_url == "http://h1/v1"


def test_a_model_with_unchanged_servers_keeps_their_state_and_gets_its_new_settings(
    configuration: Configuration,
) -> None:
    earlier_model = configuration.model()
    configuration.change(
        f"[models.a]\n{servers_line('h1', 'h2')}timeouts = {{ run = 7 }}\n[models.b]\n{servers_line('h1')}"
    )
    model = configuration.model()

    assert model.endpoints is earlier_model.endpoints
    assert (model.config.timeouts.run, earlier_model.config.timeouts.run) == (7, 3600)
    assert choose_endpoint(configuration.model("b")) is not choose_endpoint(model)


def test_a_server_that_remains_keeps_its_requests_and_failures_when_another_is_added(
    configuration: Configuration,
) -> None:
    earlier_model = configuration.model()
    earlier_model.endpoints.give_up()
    first = choose_endpoint(earlier_model)
    with first.request("resp_1"):
        second = choose_endpoint(earlier_model)
        with second.request("resp_2") as request:
            request.record_failure(errors.ModelServerUnreachable("The model server cannot be reached: no."))
        configuration.change(f"[models.a]\n{servers_line('h3', 'h2', 'h1')}")
        model = configuration.model()

        third = choose_endpoint(model)
        assert third.base_url == "http://h3/v1"
        with third.request("resp_3"):
            assert choose_endpoint(model) is first
    assert model.endpoints.has_open_circuit


@pytest.fixture
def attempt(core: Core) -> Attempt:
    register_worker(core)
    return replace(claim(core, submit(core, create_caller(core))), prefix="some text")


def run_with_session(test: Callable[[aiohttp.ClientSession], Awaitable[None]]) -> None:
    async def run() -> None:
        async with aiohttp.ClientSession() as session:
            await test(session)

    asyncio.run(run())


def test_another_upstream_model_is_probed_before_it_continues_a_text(
    tmp_path: Path, models: ModelServer, attempt: Attempt
) -> None:
    table = f'[models.a]\nbase_url = "{models.base_url}"\n'
    configuration = Configuration(tmp_path / "backburner.toml", table)

    async def test(session: aiohttp.ClientSession) -> None:
        probe = ContinuationProbe({"chat_completions": ChatCompletions(session)})
        earlier_config = configuration.model().config
        assert await probe.continues_text(attempt, earlier_config, models.base_url)
        configuration.change(f'{table}upstream_model = "{STARTS_OVER_MODEL}"\n')
        assert not await probe.continues_text(attempt, configuration.model().config, models.base_url)
        assert await probe.continues_text(attempt, earlier_config, models.base_url)

    run_with_session(test)


def test_the_tokenizer_of_a_changed_model_is_detected_again(
    tmp_path: Path, models: ModelServer, attempt: Attempt
) -> None:
    table = f'[models.a]\nbase_url = "{models.base_url}"\n'
    configuration = Configuration(tmp_path / "backburner.toml", table)

    async def test(_: aiohttp.ClientSession) -> None:
        tokenizers = Tokenizers()
        assert await tokenizers.count(configuration.model().config, models.base_url, attempt) is None
        configuration.change(f'{table}upstream_model = "other"\n')
        script = ModelServer.script(tokenizer="vllm")
        counted_attempt = replace(attempt, context=[user_message(script)])
        assert await tokenizers.count(configuration.model().config, models.base_url, counted_attempt) is not None

    run_with_session(test)
