"""The long form of a test that kills worker, Valkey and sweeper."""

import pytest

from tests.e2e.faults.killing import kill_worker_valkey_and_sweeper
from tests.harness.stack import Stack
from tests.model_server import ModelServer


@pytest.mark.long
def test_120_responses_all_end_once_when_worker_valkey_and_sweeper_are_killed(
    stack: Stack, models: ModelServer, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = kill_worker_valkey_and_sweeper(stack, models, running_count=60, waiting_count=60)

    assert sum(counts.values()) == 120
    with capsys.disabled():
        print(f"\n120 accepted, all ended once: {counts}")
