"""Circuits: while a model's servers are unavailable, dispatch allows a single response at a time, the probe."""

import json
from dataclasses import replace
from typing import NamedTuple

import pytest

from core.bootstrap import Core
from core.runs.attempt import Attempt, HandBack
from core.settings import Settings
from tests.harness.engine import (
    COMPLETED,
    UNAVAILABLE,
    batch,
    claim,
    create_caller,
    dispatched_ids,
    register_worker,
    run_concurrently,
    sql,
    submit,
)


class Circuit(NamedTuple):
    """An open or half-open circuit.

    Args:
        open_s: the seconds from the end of the last attempt of any response until the circuit becomes half-open.
        probe_id: the ID of the response that probes the servers.
    """

    failures: int
    open_s: float
    probe_id: str | None


def open_circuit(core: Core, settings: Settings, model: str = "scripted") -> str:
    """Open a model's circuit; return the ID of the waiting response that found the servers unavailable."""
    response_id = submit(core, create_caller(core), model=model)
    assert core.attempts.hand_back(claim(core, response_id), UNAVAILABLE)
    assert read_circuit(settings, model).failures == 1
    return response_id


def read_circuit(settings: Settings, model: str = "scripted") -> Circuit:
    """Return the circuit of a model; fail if the model has none."""
    open_s = "extract(epoch from open_until - (select max(ended_at) from attempts))::float"
    (row,) = sql(settings, f"select failures, {open_s}, probe from circuits where model = %s", model)
    return Circuit(*row)


def expire_circuits(settings: Settings) -> None:
    """Make all circuits half-open."""
    sql(settings, "update circuits set open_until = now() - interval '1 ms'")


def claim_probe(core: Core, settings: Settings) -> Attempt:
    """Dispatch and claim the probe."""
    expire_circuits(settings)
    core.dispatch.dispatch()
    (response_id,) = dispatched_ids(settings)
    return claim(core, response_id)


def test_an_open_circuit_stops_dispatch_for_its_model_and_no_other(core: Core, settings: Settings) -> None:
    register_worker(core)
    open_circuit(core, settings)
    client = create_caller(core)

    blocked_ids = [submit(core, client) for _ in range(3)]
    other_id = submit(core, client, model="narrow")
    core.dispatch.dispatch()
    core.sweep.run()

    assert dispatched_ids(settings) == [other_id]
    waiting_query = "select count(*) from responses where dispatched_at is null and id = any (%s)"
    assert sql(settings, waiting_query, blocked_ids) == [(3,)]


def test_a_half_open_circuit_allows_exactly_one_response_under_concurrent_dispatches(
    core: Core, settings: Settings
) -> None:
    register_worker(core)
    open_circuit(core, settings)
    client = create_caller(core)
    for _ in range(20):
        submit(core, client)

    for _ in range(5):
        expire_circuits(settings)
        run_concurrently(*[core.dispatch.dispatch] * 4, lambda: submit(core, client), core.sweep.run)

        (response_id,) = dispatched_ids(settings)
        assert read_circuit(settings).probe_id == response_id
        assert claim(core, response_id).probe
        assert core.dispatch.dispatch() == 0
        core.responses.cancel(client, response_id)


def test_a_response_that_is_not_the_probe_is_claimed_without_the_probe_flag(core: Core, settings: Settings) -> None:
    register_worker(core)
    response_id = submit(core, create_caller(core))
    open_circuit(core, settings)

    assert not claim(core, response_id).probe


def test_a_circuit_is_closed_once_and_then_all_responses_are_dispatched(core: Core, settings: Settings) -> None:
    register_worker(core)
    first_id = open_circuit(core, settings)
    blocked_ids = [submit(core, create_caller(core)) for _ in range(5)]
    attempt = claim_probe(core, settings)

    assert core.circuits.close("scripted")
    assert not core.circuits.close("scripted")
    core.attempts.end(attempt, COMPLETED, batch(attempt, []))
    core.dispatch.dispatch()

    assert attempt.response_id == first_id
    assert sorted(dispatched_ids(settings)) == sorted(blocked_ids)


def test_a_failed_probe_reopens_the_circuit_for_longer_and_another_response_probes_next(
    core: Core, settings: Settings
) -> None:
    register_worker(core)
    first_id = open_circuit(core, settings)
    second_id = submit(core, create_caller(core))
    assert 0.4 < read_circuit(settings).open_s <= 1

    assert core.attempts.hand_back(claim_probe(core, settings), UNAVAILABLE)
    circuit = read_circuit(settings)
    assert (circuit.failures, circuit.probe_id) == (2, None)
    assert 0.9 < circuit.open_s <= 2
    assert sql(
        settings,
        "select r.available_at > c.open_until + interval '1 s' from responses r, circuits c where r.id = %s",
        first_id,
    ) == [(True,)]

    assert claim_probe(core, settings).response_id == second_id


def test_a_circuit_is_open_for_at_most_the_maximum_or_as_long_as_the_server_requests(
    core: Core, settings: Settings
) -> None:
    register_worker(core)
    open_circuit(core, settings)
    sql(settings, "update circuits set failures = 40")
    for requested_delay_s, min_s, max_s in ((0, 7, 15), (120, 119, 120)):
        attempt = claim_probe(core, settings)
        assert core.attempts.hand_back(attempt, replace(UNAVAILABLE, requested_delay_s=requested_delay_s))
        assert min_s < read_circuit(settings).open_s <= max_s
        sql(settings, "update responses set available_at = now()")


def test_simultaneous_failures_of_many_responses_open_the_circuit_once(core: Core, settings: Settings) -> None:
    register_worker(core)
    client = create_caller(core)
    attempts = [claim(core, submit(core, client)) for _ in range(12)]

    run_concurrently(*[lambda attempt=attempt: core.attempts.hand_back(attempt, UNAVAILABLE) for attempt in attempts])

    assert read_circuit(settings).failures == 1
    assert sql(settings, "select count(*) from responses where status = 'queued'") == [(12,)]


def test_a_response_that_ran_when_the_circuit_opened_does_not_extend_it(core: Core, settings: Settings) -> None:
    register_worker(core)
    running_attempt = claim(core, submit(core, create_caller(core)))
    open_circuit(core, settings)
    failures = read_circuit(settings).failures

    attempt = claim_probe(core, settings)
    assert core.attempts.hand_back(running_attempt, UNAVAILABLE)

    assert read_circuit(settings).failures == failures
    assert read_circuit(settings).probe_id == attempt.response_id


@pytest.mark.parametrize("probe_end", ["lost", "cancelled", "handed back", "never claimed"])
def test_a_probe_without_a_result_is_replaced_by_another_response(
    core: Core, settings: Settings, probe_end: str
) -> None:
    register_worker(core)
    open_circuit(core, settings)
    second_id = submit(core, create_caller(core))
    expire_circuits(settings)
    core.dispatch.dispatch()
    (response_id,) = dispatched_ids(settings)
    update_query = "update responses set {} where id = %s"
    if probe_end == "never claimed":
        unclaimed_values = "dispatched_at = now() - interval '1 h', available_at = now() + interval '1 h'"
        sql(settings, update_query.format(unclaimed_values), response_id)
    else:
        attempt = claim(core, response_id)
        if probe_end == "lost":
            sql(settings, update_query.format("lease_until = now() - interval '1 s'"), response_id)
        elif probe_end == "cancelled":
            core.responses.cancel(create_caller(core), response_id)
        else:
            core.attempts.hand_back(attempt, HandBack("The worker was shut down.", delay_s=60))

    core.sweep.run()

    assert dispatched_ids(settings) == [second_id]
    assert read_circuit(settings).probe_id == second_id


def test_a_response_without_an_attempt_fails_at_its_deadline_with_the_circuits_cause(
    core: Core, settings: Settings
) -> None:
    register_worker(core)
    attempted_id = open_circuit(core, settings)
    blocked_id = submit(core, create_caller(core))
    other_id = submit(core, create_caller(core), model="narrow")
    sql(settings, "update workers set seen_at = now() - interval '1 h'")
    sql(settings, "update responses set dispatched_at = null, queued_until = now() - interval '1 s'")

    core.sweep.run()

    def error_message(response_id: str) -> str:
        return json.loads(core.responses.get(create_caller(core), response_id)[0])["error"]["message"]

    assert error_message(blocked_id).endswith(
        "because its model server was unavailable: The model server cannot be reached: no."
    )
    assert error_message(attempted_id).endswith("the last attempt: The model server cannot be reached: no.")
    assert error_message(other_id) == "No worker was free before the response's deadline."


def test_an_old_circuit_is_deleted_unless_its_probe_is_running(core: Core, settings: Settings) -> None:
    register_worker(core)
    open_circuit(core, settings)
    open_circuit(core, settings, model="narrow")
    sql(settings, "insert into circuits (model, open_until, cause) values ('gone', now() - interval '1 h', 'no')")
    sql(settings, "update responses set available_at = now() + interval '1 h' where model = 'narrow'")
    claim_probe(core, settings)
    sql(settings, "update circuits set open_until = now() - interval '1 h'")

    core.sweep.run()

    assert sql(settings, "select model from circuits") == [("scripted",)]
