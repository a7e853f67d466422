"""A create request is handled with one configuration, although the configuration may change at any time."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle

from core.bootstrap import Core
from core.config.catalog import Catalog, ModelConfig
from core.config.limits import Limits, ProjectLimits
from core.settings import Settings
from tests.harness.engine import create_caller, register_worker, run_concurrently, sql, submit

SERVER = "http://127.0.0.1:9/v1"


def create_catalog(run_s: int, limits: Limits) -> Catalog:
    model = ModelConfig.model_validate({"base_url": SERVER, "timeouts": {"run": run_s}})
    return Catalog({"scripted": model}, ProjectLimits({"*": {"*": limits}}))


@contextmanager
def changing_configuration(core: Core, *catalogs: Catalog) -> Iterator[None]:
    """Replace the current catalog continuously during the block."""
    stopped = threading.Event()

    def change() -> None:
        for catalog in cycle(catalogs):
            core.live_catalog.current = catalog
            if stopped.wait(0.0005):
                return

    thread = threading.Thread(target=change)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def test_a_create_uses_the_timeouts_and_the_limits_of_the_same_configuration(core: Core, settings: Settings) -> None:
    register_worker(core)
    client = create_caller(core)
    with changing_configuration(
        core, create_catalog(100, Limits()), create_catalog(200, Limits(requests_per_minute=10**6))
    ):
        for _ in range(40):
            run_concurrently(*[lambda: submit(core, client)] * 5)

    rows = sql(settings, "select distinct run_s, reserved_requests from responses")
    assert sorted(rows) == [(100, 0), (200, 1)]
