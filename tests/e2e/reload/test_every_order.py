"""Models are added, renamed and removed under load: no accepted response fails, in whatever order the parts reload."""

import itertools
import random
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import openai
import pytest

from tests.conftest import new_database
from tests.e2e.reload.reloading import reload_models, write_models
from tests.harness.stack import Stack
from tests.harness.waiting import until
from tests.model_server import ModelServer

PARTS = ("api", "api-2", "worker", "worker-2", "sweeper")
# Each order of two APIs and two workers; the sweeper comes last, so that it works with the old file for as long as
# possible.
ORDERS = sorted(set(itertools.permutations(("api", "api", "worker", "worker"))))
MODELS = ("first", "second", "third")
# The models after each change: `second` is added, then renamed to `third`, then removed.
CHANGES = (("first", "second"), ("first", "third"), ("first",))
PAUSE_S = 0.2


def part_names(order: tuple[str, ...]) -> list[str]:
    """The names of the parts in an order of APIs and workers, followed by the sweeper."""
    names = {"api": iter(("api", "api-2")), "worker": iter(("worker", "worker-2"))}
    return [*(next(names[command]) for command in order), "sweeper"]


@contextmanager
def create_load(stack: Stack, models: ModelServer) -> Iterator[None]:
    """Create responses of all models at both APIs inside the block, although an API may be down or not know a model."""
    stopped = threading.Event()
    script = models.script(tokens=3)

    def create_responses(port: int, seed: int) -> None:
        rng = random.Random(seed)
        url = f"http://127.0.0.1:{port}/v1"
        with openai.OpenAI(base_url=url, api_key=stack.key, max_retries=0, timeout=10) as client:
            while not stopped.wait(PAUSE_S):
                try:
                    client.responses.create(model=rng.choice(MODELS), input=script, background=True)
                except (openai.APIConnectionError, openai.BadRequestError):
                    continue

    with ThreadPoolExecutor(4) as threads:
        futures = [
            threads.submit(create_responses, port, seed)
            for seed, port in enumerate((stack.port, stack.port_2, stack.port, stack.port_2))
        ]
        try:
            yield
        finally:
            stopped.set()
        for future in futures:
            future.result()


@pytest.fixture
def changing_stack(postgres_url: str, template: str, models: ModelServer, tmp_path: Path) -> Iterator[Stack]:
    """Two APIs, two workers and a sweeper that share a configuration file with one model."""
    config = tmp_path / "backburner.toml"
    write_models(config, models, {"first": ""})
    with Stack(tmp_path / "home", new_database(postgres_url, template), config, models) as stack:
        stack.up("valkey", *PARTS)
        until(lambda: "msg=sweeping" in stack.log("sweeper"))
        yield stack


def wait_for_creates(stack: Stack, model_names: Iterable[str]) -> None:
    """Wait until one more response of each of the models has been created."""
    query = "select model, count(*) from responses group by model"
    earlier_counts = Counter(dict(stack.sql(query)))
    until(lambda: all(dict(stack.sql(query)).get(name, 0) > earlier_counts[name] for name in model_names), timeout_s=30)


def restart(stack: Stack, name: str) -> None:
    stack.stop(name)
    stack.start(name)


def reload(stack: Stack, name: str) -> None:
    reload_models(stack, name)


METHODS = {"restart": restart, "SIGHUP": reload}
EVERY_ORDER = [
    pytest.param(method, ORDERS, id=f"{method} in every order", marks=pytest.mark.long) for method in METHODS
]
ONE_ORDER = pytest.param("SIGHUP", [("worker", "api", "worker", "api")], id="SIGHUP")


@pytest.mark.parametrize(("method", "orders"), [ONE_ORDER, *EVERY_ORDER])
def test_no_accepted_response_fails_while_models_are_added_renamed_and_removed(
    changing_stack: Stack, models: ModelServer, method: str, orders: list[tuple[str, ...]]
) -> None:
    config = changing_stack.settings.config
    assert config is not None
    with create_load(changing_stack, models):
        for order, model_names in itertools.product(orders, CHANGES):
            write_models(config, models, dict.fromkeys(model_names, ""))
            for part in part_names(order):
                METHODS[method](changing_stack, part)
            wait_for_creates(changing_stack, model_names)
    # Responses of `second` and `third` may still wait; they run as soon as a worker knows their models again.
    write_models(config, models, dict.fromkeys(MODELS, ""))
    for part in PARTS:
        METHODS[method](changing_stack, part)
    until(changing_stack.all_ended, timeout_s=60)

    statuses = changing_stack.sql("select model, status, count(*) from responses group by model, status order by model")
    assert {status for _, status, _ in statuses} == {"completed"}, statuses
    assert {model for model, _, _ in statuses} == set(MODELS)
