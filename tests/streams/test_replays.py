"""Deleted logs read as if they still existed, for clients and operators."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from core.bootstrap import Core
from core.runs.ends import failed
from core.settings import Settings
from core.wire import transcript
from tests import stream_checker
from tests.harness import tcp_proxy
from tests.harness.engine import COMPLETED, batch, caller, claim, opening, said, sql, submit, worker
from tests.harness.waiting import until

WEEK_S = 604_800


def read(core: Core, response_id: str, after: int = -1) -> list[dict]:
    return [json.loads(line) for lines in core.streams.read(response_id, after=after, beat_s=15) for line in lines]


def old(core: Core, settings: Settings, words: list[str]) -> str:
    """A response that completed more than a week ago."""
    attempt = claim(core, submit(core, caller(core)))
    first = opening(attempt)
    core.attempts.record([first])
    told = batch(attempt, said("msg_2", 1, words), first.next_seq)
    core.attempts.end(attempt, COMPLETED, told)
    age(settings, attempt.response_id)
    return attempt.response_id


def age(settings: Settings, response_id: str) -> None:
    # The guard trigger forbids changing the end of an ended response.
    sql(settings, "alter table responses disable trigger responses_guard")
    sql(
        settings,
        "update responses set finished_at = finished_at - %s * interval '1 s' where id = %s",
        WEEK_S + 5,
        response_id,
    )
    sql(settings, "alter table responses enable trigger responses_guard")


def test_a_log_that_was_deleted_is_read_again_with_the_same_length_and_end(core: Core, settings: Settings) -> None:
    worker(core)
    response_id = old(core, settings, [f"word{n} " for n in range(50)])
    before = read(core, response_id)

    core.sweep.run()

    assert sql(settings, "select count(*) from response_events") == [(0,)]
    assert sql(settings, "select events_n from responses") == [(len(before),)]
    again = read(core, response_id)
    assert [event["sequence_number"] for event in again] == list(range(len(before)))
    stream_checker.check(again, json.loads(sql(settings, "select document from responses")[0][0]))
    assert again[-1] == before[-1]
    assert again[:3] == before[:3]
    assert transcript.fold(again).output == before[-1]["response"]["output"]
    assert read(core, response_id, len(before) - 1) == []
    assert read(core, response_id, 10**6) == []
    assert read(core, response_id, 20) == [before[-1]]
    assert read(core, response_id, 1) == again[2:]


def test_logs_are_kept_for_as_long_as_the_setting_says_and_while_responses_run(core: Core, settings: Settings) -> None:
    worker(core)
    who = caller(core)
    ended = claim(core, submit(core, who))
    core.attempts.end(ended, COMPLETED, opening(ended))
    running = claim(core, submit(core, who))
    core.attempts.record([opening(running)])
    sql(settings, "update responses set created_at = now() - interval '30 days'")

    core.sweep.run()

    assert sql(settings, "select count(*) from responses where events_n is null") == [(2,)]
    assert len(read(core, ended.response_id)) > 3


def test_a_response_that_never_ran_is_read_again_without_having_been_in_progress(
    core: Core, settings: Settings
) -> None:
    response_id = submit(core, who := caller(core))
    core.responses.cancel(who, response_id)
    before = read(core, response_id)
    age(settings, response_id)

    core.sweep.run()

    assert [event["type"] for event in before] == ["response.created", "response.queued", "response.failed"]
    assert read(core, response_id) == before


@pytest.fixture
def tail(settings: Settings):
    """A function that runs `backburner responses tail` on this test's servers."""

    def tail(response_id: str) -> Result:
        env = {
            "BACKBURNER_HOME": str(settings.home),
            "BACKBURNER_CONFIG": str(settings.config),
            "BACKBURNER_DATABASE_URL": settings.database_url.get_secret_value(),
            "BACKBURNER_REDIS_URL": settings.redis_url.get_secret_value(),
        }
        return CliRunner().invoke(main, ["responses", "tail", response_id], env=env)

    return tail


def test_tail_prints_what_a_response_said_and_how_it_ended(core: Core, settings: Settings, tail) -> None:
    worker(core)
    response_id = old(core, settings, ["It is ", "\x1b[31mred", "\n"])
    shown = tail(response_id)
    core.sweep.run()

    assert shown.exit_code == 0, shown.output
    assert shown.output == "Hello\nIt is \N{REPLACEMENT CHARACTER}[31mred\ncompleted\n"
    assert tail(response_id).output == shown.output


def test_tail_waits_for_the_end_of_a_running_response_and_fails_with_it(core: Core, tail) -> None:
    worker(core)
    attempt = claim(core, submit(core, caller(core)))
    core.attempts.record([first := opening(attempt)])

    with ThreadPoolExecutor(1) as thread:
        tailing = thread.submit(tail, attempt.response_id)
        core.attempts.end(attempt, failed("server_error", "It broke."), batch(attempt, [], first.next_seq))
        shown = tailing.result(20)

    assert shown.exit_code == 1
    assert shown.output == "Hello\nfailed: server_error: It broke.\n"


def test_tail_says_that_there_is_no_such_response(core: Core, tail) -> None:
    shown = tail("resp_" + "0" * 48)

    assert shown.exit_code == 1
    assert "There is no response" in shown.output


def test_a_listener_whose_redis_says_nothing_any_more_connects_again(core: Core, settings: Settings) -> None:
    from core.notify.bus import Bus
    from core.streams.broadcaster import Broadcaster

    with tcp_proxy.running(settings.redis_url.get_secret_value()) as proxy:
        bus = Bus(proxy.url)
        broadcaster = Broadcaster(core.streams._database, bus, follow_s=15)
        subscription = broadcaster.follow("resp_none", reads=True)
        try:
            until(lambda: proxy.accepted == 1)
            until(subscription.must_look)
            proxy.blackhole()
            until(lambda: proxy.swallowed >= 2, within_s=20)
            proxy.pass_on()

            until(lambda: proxy.accepted >= 2, within_s=20)
        finally:
            broadcaster.leave(subscription)
            broadcaster.close()
            bus.close()
