"""Every accepted response ends truthfully and exactly once after each fault of the table, under a mixed load."""

import os
import random
from collections.abc import Callable, Iterator

import pytest

from tests.chaos.rig.rig import Rig
from tests.chaos.rig.scenario_run import run_scenario
from tests.chaos.rig.scenarios import SCENARIOS, Scenario
from tests.model_server import ModelServer

SEED_COUNT = int(os.environ.get("SEEDS", "1"))  # noqa: TID251
SEED = int(os.environ.get("SEED", random.randrange(2**31)))  # noqa: TID251
SHORT_SCENARIOS = [scenario for scenario in SCENARIOS if scenario.is_short]


@pytest.fixture(scope="module")
def working_rig(_model_server: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Rig]]:
    """A function that returns the running deployment, or starts a new deployment if the last run broke the old one."""
    open_rigs: list[Rig] = []

    def find_or_start_rig() -> Rig:
        if open_rigs and open_rigs[-1].is_broken:
            open_rigs.pop().close()
        if not open_rigs:
            open_rigs.append(Rig(tmp_path_factory.mktemp("rig"), _model_server))
        return open_rigs[-1]

    yield find_or_start_rig
    for rig in open_rigs:
        rig.close()


def check_scenario(rig: Rig, scenario: Scenario, seed: int, record: Callable[[str, object], None]) -> None:
    """Run a scenario, record its row of the summary, and assert that its figures contain no violation."""
    skip_reason = scenario.skip_reason(rig)
    if skip_reason is not None:
        pytest.skip(skip_reason)
    print(f"SEED={seed}")
    rig.is_broken = True
    result = run_scenario(rig, scenario, seed)
    record("chaos", result.summary_row())
    rig.is_broken = not result.figures.has_no_violations
    assert result.figures.has_no_violations, "\n".join(result.figures.findings)


@pytest.mark.long
@pytest.mark.parametrize("seed_offset", range(SEED_COUNT))
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_every_accepted_response_ends_once_and_truthfully_after_every_fault(
    working_rig: Callable[[], Rig],
    scenario: Scenario,
    seed_offset: int,
    record_property: Callable[[str, object], None],
) -> None:
    check_scenario(working_rig(), scenario, SEED + seed_offset, record_property)


def test_every_accepted_response_ends_once_and_truthfully_after_the_short_faults(
    working_rig: Callable[[], Rig], record_property: Callable[[str, object], None]
) -> None:
    for scenario in SHORT_SCENARIOS:
        check_scenario(working_rig(), scenario, SEED, record_property)
