"""Circuits: while a model's servers are unavailable, only one response at a time is dispatched, as a probe."""

import json

import pytest

from core.bootstrap import Core
from core.runs.attempts import Attempt, HandBack
from core.settings import Settings
from tests.harness.engine import AWAY, COMPLETED, at_once, batch, caller, claim, dispatched, sql, submit, worker


def opened(core: Core, settings: Settings, model: str = "scripted", **fields: object) -> str:
    """A response that found its model's servers unavailable and now waits behind the open circuit."""
    response_id = submit(core, caller(core), model=model)
    attempt = claim(core, response_id)
    assert core.attempts.hand_back(attempt, HandBack(**{**vars(AWAY), **fields}))
    assert len(circuit(settings, model)) == 1
    return response_id


def circuit(settings: Settings, model: str = "scripted") -> list[tuple]:
    """The circuit's number of failures, its open seconds counted from the end of the last attempt, and its probe."""
    left = "extract(epoch from open_until - (select max(ended_at) from attempts))::float"
    return sql(settings, f"select failures, {left}, probe from circuits where model = %s", model)


def due(settings: Settings) -> None:
    """Let the open time of all circuits expire."""
    sql(settings, "update circuits set open_until = now() - interval '1 ms'")


def probe(core: Core, settings: Settings) -> Attempt:
    """Dispatch and claim the probe."""
    due(settings)
    core.dispatch.dispatch()
    (response_id,) = dispatched(settings)
    return claim(core, response_id)


def test_an_open_circuit_keeps_its_model_from_being_rung_and_no_other(core: Core, settings: Settings) -> None:
    worker(core)
    opened(core, settings)
    who = caller(core)

    behind = [submit(core, who) for _ in range(3)]
    free = submit(core, who, model="narrow")
    core.dispatch.dispatch()
    core.sweep.run()

    assert dispatched(settings) == [free]
    assert sql(settings, "select count(*) from responses where dispatched_at is null and id = any (%s)", behind) == [
        (3,)
    ]


def test_a_circuit_that_is_due_lets_exactly_one_through_however_many_dispatch(core: Core, settings: Settings) -> None:
    worker(core)
    opened(core, settings)
    who = caller(core)
    for _ in range(20):
        submit(core, who)

    for _ in range(5):
        due(settings)
        at_once(*[core.dispatch.dispatch] * 4, lambda: submit(core, who), core.sweep.run)

        (response_id,) = dispatched(settings)
        assert circuit(settings)[0][2] == response_id
        assert claim(core, response_id).probe
        assert core.dispatch.dispatch() == 0
        core.responses.cancel(who, response_id)


def test_who_is_not_the_probe_is_told_so(core: Core, settings: Settings) -> None:
    worker(core)
    response_id = submit(core, caller(core))
    opened(core, settings)

    assert not claim(core, response_id).probe


def test_an_answer_to_the_probe_closes_the_circuit_and_all_may_go(core: Core, settings: Settings) -> None:
    worker(core)
    first = opened(core, settings)
    ids = [submit(core, caller(core)) for _ in range(5)]
    attempt = probe(core, settings)

    assert core.circuits.close("scripted")
    assert not core.circuits.close("scripted")
    core.attempts.end(attempt, COMPLETED, batch(attempt, []))
    core.dispatch.dispatch()

    assert attempt.response_id == first
    assert sorted(dispatched(settings)) == sorted(ids)


def test_a_probe_that_fails_opens_the_circuit_for_longer_and_others_get_the_next_turn(
    core: Core, settings: Settings
) -> None:
    worker(core)
    first = opened(core, settings)
    second = submit(core, caller(core))
    ((failures, left_s, _),) = circuit(settings)
    assert failures == 1
    assert 0.4 < left_s <= 1

    assert core.attempts.hand_back(probe(core, settings), AWAY)
    ((failures, left_s, none),) = circuit(settings)
    assert (failures, none) == (2, None)
    assert 0.9 < left_s <= 2
    assert sql(
        settings,
        "select r.available_at > c.open_until + interval '1 s' from responses r, circuits c where r.id = %s",
        first,
    ) == [(True,)]

    assert probe(core, settings).response_id == second


def test_a_circuit_is_open_no_longer_than_the_longest_wait_but_as_long_as_the_server_asks(
    core: Core, settings: Settings
) -> None:
    worker(core)
    opened(core, settings)
    sql(settings, "update circuits set failures = 40")
    for asked_s, least_s, most_s in ((0, 7, 15), (120, 119, 120)):
        attempt = probe(core, settings)
        assert core.attempts.hand_back(attempt, HandBack(**{**vars(AWAY), "asked_s": asked_s}))
        ((_, left_s, _),) = circuit(settings)
        assert least_s < left_s <= most_s
        sql(settings, "update responses set available_at = now()")


def test_many_who_find_the_server_away_at_once_open_its_circuit_once(core: Core, settings: Settings) -> None:
    worker(core)
    who = caller(core)
    attempts = [claim(core, submit(core, who)) for _ in range(12)]

    at_once(*[lambda attempt=attempt: core.attempts.hand_back(attempt, AWAY) for attempt in attempts])

    assert circuit(settings)[0][0] == 1
    assert sql(settings, "select count(*) from responses where status = 'queued'") == [(12,)]


def test_what_was_running_when_the_circuit_opened_does_not_open_it_further(core: Core, settings: Settings) -> None:
    worker(core)
    running = claim(core, submit(core, caller(core)))
    opened(core, settings)
    before = circuit(settings)[0][0]

    attempt = probe(core, settings)
    assert core.attempts.hand_back(running, AWAY)

    assert circuit(settings)[0][0] == before
    assert circuit(settings)[0][2] == attempt.response_id


@pytest.mark.parametrize("how", ["lost", "cancelled", "handed back", "never claimed"])
def test_a_probe_that_comes_to_nothing_makes_room_for_the_next(core: Core, settings: Settings, how: str) -> None:
    worker(core)
    opened(core, settings)
    second = submit(core, caller(core))
    due(settings)
    core.dispatch.dispatch()
    (response_id,) = dispatched(settings)
    later = "update responses set {} where id = %s"
    if how == "never claimed":
        unavailable = "dispatched_at = now() - interval '1 h', available_at = now() + interval '1 h'"
        sql(settings, later.format(unavailable), response_id)
    else:
        attempt = claim(core, response_id)
        if how == "lost":
            sql(settings, later.format("lease_until = now() - interval '1 s'"), response_id)
        elif how == "cancelled":
            core.responses.cancel(caller(core), response_id)
        else:
            core.attempts.hand_back(attempt, HandBack("The worker was shut down.", delay_s=60))

    core.sweep.run()

    assert dispatched(settings) == [second]
    assert circuit(settings)[0][2] == second


def test_a_response_that_was_never_tried_fails_at_its_deadline_with_the_circuits_cause(
    core: Core, settings: Settings
) -> None:
    worker(core)
    tried = opened(core, settings)
    behind = submit(core, caller(core))
    other = submit(core, caller(core), model="narrow")
    sql(settings, "update workers set seen_at = now() - interval '1 h'")
    sql(settings, "update responses set dispatched_at = null, queued_until = now() - interval '1 s'")

    core.sweep.run()

    def message(response_id: str) -> str:
        return json.loads(core.responses.get(caller(core), response_id)[0])["error"]["message"]

    assert message(behind).endswith("because its model server was unavailable: The model server cannot be reached: no.")
    assert message(tried).endswith("the last attempt: The model server cannot be reached: no.")
    assert message(other) == "No worker was free before the response's deadline."


def test_a_circuit_that_nobody_tries_to_close_is_forgotten_but_not_under_a_probe(
    core: Core, settings: Settings
) -> None:
    worker(core)
    opened(core, settings)
    opened(core, settings, model="narrow")
    sql(settings, "insert into circuits (model, open_until, cause) values ('gone', now() - interval '1 h', 'no')")
    sql(settings, "update responses set available_at = now() + interval '1 h' where model = 'narrow'")
    probe(core, settings)
    sql(settings, "update circuits set open_until = now() - interval '1 h'")

    core.sweep.run()

    assert sql(settings, "select model from circuits") == [("scripted",)]
