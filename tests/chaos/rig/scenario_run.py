"""One run of a scenario: load, fault, recovery, and the figures of all accepted responses."""

import itertools
import json
import random
import time
from dataclasses import dataclass
from typing import Any

from tests import invariants
from tests.chaos.rig.load import Load, Request, find_false_statements, generate_requests
from tests.chaos.rig.rig import Rig
from tests.chaos.rig.scenarios import Scenario
from tests.harness.waiting import until
from tests.invariants import Figures

# Maximum time from the repair to the end of the last response.
RECOVERY_TIMEOUT_S = 45


@dataclass(frozen=True)
class ScenarioResult:
    """The result of one run of a scenario."""

    scenario: str
    seed: int
    figures: Figures
    open_count: int  # responses that had not ended when the fault was injected
    attempt_count: int
    recovery_s: float  # from the repair to the end of the last response
    duration_s: float

    def summary_row(self) -> dict[str, object]:
        """A row of the summary of the chaos suite."""
        figures = self.figures
        return {
            "scenario": self.scenario,
            "seed": self.seed,
            "accepted": figures.accepted,
            "terminal": figures.terminal,
            "ends": " ".join(f"{number} {status}" for status, number in sorted(figures.statuses.items())),
            "open at fault": self.open_count,
            "attempts": self.attempt_count,
            "written twice": figures.written_twice,
            "changed after the end": figures.changed_after_end,
            "incorrect logs": figures.incorrect_logs + figures.differing_streams,
            "leaked connections": figures.leaked_connections,
            "false statements": figures.false_statements,
            "crashes": figures.crashes,
            "recovery s": round(self.recovery_s, 1),
            "duration s": round(self.duration_s, 1),
        }


def run_scenario(rig: Rig, scenario: Scenario, seed: int) -> ScenarioResult:
    """Run a scenario on a working deployment, and repair the deployment afterwards."""
    started_at = time.monotonic()
    rng = random.Random(seed)
    rig.models.reset()
    rig.crashes.clear()
    rig.run_id = f"{seed}-{rig.run_count}"
    rig.run_count += 1
    request_sequence = generate_requests(rng, rig.run_id, model=scenario.model, **scenario.script)
    requests = list(itertools.islice(request_sequence, scenario.response_count))
    load = Load(rig.stack, requests, client_count=len(requests))
    try:
        until(lambda: rig.open_count() > scenario.response_count * 3 / 4, timeout_s=20)
        rig.wait_for_tokens(scenario.response_count * rng.randrange(*scenario.tokens_before_fault))
        open_count = rig.open_count()
        scenario.fault(rig, rng)
    except BaseException:
        load.stop()
        raise
    rig.repair()
    repaired_at = time.monotonic()
    load.wait(RECOVERY_TIMEOUT_S)
    until(rig.stack.all_ended, timeout_s=RECOVERY_TIMEOUT_S)
    recovery_s = time.monotonic() - repaired_at
    figures = inspect_run(rig, requests, scenario.allowed_statuses)
    ((attempt_count,),) = rig.stack.sql("select sum(attempt) from responses where metadata->>'run' = %s", rig.run_id)
    rig.restore()
    return ScenarioResult(
        scenario.name, seed, figures, open_count, attempt_count, recovery_s, time.monotonic() - started_at
    )


def inspect_run(rig: Rig, requests: list[Request], allowed_statuses: frozenset[str]) -> Figures:
    """Check the stored responses of a finished run, and the replies that its clients received.

    Args:
        allowed_statuses: statuses in which a background response may end without a cancel.
    """
    responses: dict[str, list[tuple[str, dict[str, Any]]]] = {}  # IDs and documents, by the number of the request
    for number, response_id, document in rig.stack.sql(
        "select metadata->>'number', id, document from responses where metadata->>'run' = %s", rig.run_id
    ):
        responses.setdefault(number, []).append((response_id, json.loads(document)))
    stored_ids = {response_id for copies in responses.values() for response_id, _ in copies}
    figures = invariants.inspect_responses(
        rig.stack,
        stored_ids | {request.id for request in requests if request.id},
        {request.id: request.events for request in requests if request.events and request.id},
    )
    for request in requests:
        copies = responses.get(str(request.number), [])
        if len(copies) != 1:
            figures.add("mismatched_responses", f"request {request.number} created {len(copies)} responses")
        request_statuses = allowed_statuses | ({"cancelled"} if request.kind == "foreground" else set())
        for _, document in copies:
            for statement in find_false_statements(request, document, set(request_statuses)):
                figures.add("false_statements", statement)
    rig.repair()
    for crash in rig.crashes:
        figures.add("crashes", crash)
    try:
        until(lambda: rig.models.open_request_count == 0, timeout_s=10)
    except AssertionError:
        figures.add("leaked_connections", "connections to the model server", rig.models.open_request_count)
    return figures
