"""An accepted response always ends, truthfully and exactly once, whatever breaks under a mixed load."""

import os
import random
from collections.abc import Callable, Iterator

import pytest

from tests.chaos.rig.rig import Rig
from tests.chaos.rig.scenario_run import play
from tests.chaos.rig.scenarios import SCENARIOS, Scenario
from tests.model_server import ModelServer

SEEDS = int(os.environ.get("SEEDS", "1"))  # noqa: TID251
SEED = int(os.environ.get("SEED", random.randrange(2**31)))  # noqa: TID251
SHORT = [scenario for scenario in SCENARIOS if scenario.short]


@pytest.fixture(scope="module")
def rigs(_model_server: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Rig]]:
    """Returns the running deployment, or a new one after a run that left it broken."""
    running: list[Rig] = []

    def whole() -> Rig:
        if running and running[-1].broken:
            running.pop().close()
        if not running:
            running.append(Rig(tmp_path_factory.mktemp("rig"), _model_server))
        return running[-1]

    yield whole
    for rig in running:
        rig.close()


def run(rig: Rig, scenario: Scenario, seed: int, record: Callable[[str, object], None]) -> None:
    why_not = scenario.impossible(rig)
    if why_not is not None:
        pytest.skip(why_not)
    print(f"SEED={seed}")
    rig.broken = True
    ran = play(rig, scenario, seed)
    record("chaos", ran.row())
    rig.broken = not ran.figures.holds
    assert ran.figures.holds, "\n".join(ran.figures.findings)


@pytest.mark.long
@pytest.mark.parametrize("number", range(SEEDS))
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_every_accepted_response_ends_once_and_truthfully_whatever_breaks(
    rigs: Callable[[], Rig],
    scenario: Scenario,
    number: int,
    record_property: Callable[[str, object], None],
) -> None:
    run(rigs(), scenario, SEED + number, record_property)


def test_every_accepted_response_ends_once_and_truthfully_through_some_faults(
    rigs: Callable[[], Rig], record_property: Callable[[str, object], None]
) -> None:
    for scenario in SHORT:
        run(rigs(), scenario, SEED, record_property)
