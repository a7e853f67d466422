"""Clients and operators can read deleted logs as if the logs still existed."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from core.bootstrap import Core
from core.runs.ends import failed_outcome
from core.settings import Settings
from core.wire import transcript
from tests import stream_checker
from tests.harness.engine import (
    COMPLETED,
    batch,
    claim,
    create_caller,
    message_events,
    opening_batch,
    register_worker,
    sql,
    submit,
)

WEEK_S = 604_800
RunTail = Callable[[str], Result]


def read_events(core: Core, response_id: str, after: int = -1) -> list[dict]:
    return [json.loads(line) for lines in core.streams.read(response_id, after=after, heartbeat_s=15) for line in lines]


def create_old_response(core: Core, settings: Settings, texts: list[str]) -> str:
    """Create a response that completed more than a week ago; return its ID."""
    attempt = claim(core, submit(core, create_caller(core)))
    first_batch = opening_batch(attempt)
    core.attempts.append_events([first_batch])
    last_batch = batch(attempt, message_events("msg_2", 1, texts), first_batch.next_seq)
    core.attempts.end(attempt, COMPLETED, last_batch)
    move_end_to_past(settings, attempt.response_id)
    return attempt.response_id


def move_end_to_past(settings: Settings, response_id: str) -> None:
    """Change the end of a response to more than a week ago."""
    with responses_guard_disabled(settings):
        sql(
            settings,
            "update responses set finished_at = finished_at - %s * interval '1 s' where id = %s",
            WEEK_S + 5,
            response_id,
        )


@contextmanager
def responses_guard_disabled(settings: Settings) -> Iterator[None]:
    """Allow changes of ended responses, which the trigger rejects, during the block."""
    sql(settings, "alter table responses disable trigger responses_guard")
    yield
    sql(settings, "alter table responses enable trigger responses_guard")


def test_a_deleted_log_is_rebuilt_with_the_same_length_and_end(core: Core, settings: Settings) -> None:
    register_worker(core)
    response_id = create_old_response(core, settings, [f"word{n} " for n in range(50)])
    events_before = read_events(core, response_id)

    core.sweep.run()

    assert sql(settings, "select count(*) from response_events") == [(0,)]
    assert sql(settings, "select events_n from responses") == [(len(events_before),)]
    events_after = read_events(core, response_id)
    assert [event["sequence_number"] for event in events_after] == list(range(len(events_before)))
    stream_checker.check_complete_log(events_after, json.loads(sql(settings, "select document from responses")[0][0]))
    assert events_after[-1] == events_before[-1]
    assert events_after[:3] == events_before[:3]
    assert transcript.fold(events_after).output == events_before[-1]["response"]["output"]
    assert read_events(core, response_id, len(events_before) - 1) == []
    assert read_events(core, response_id, 10**6) == []
    assert read_events(core, response_id, 20) == [events_before[-1]]
    assert read_events(core, response_id, 1) == events_after[2:]


def test_logs_are_not_deleted_before_the_retention_time_or_while_responses_run(core: Core, settings: Settings) -> None:
    register_worker(core)
    client = create_caller(core)
    ended_attempt = claim(core, submit(core, client))
    core.attempts.end(ended_attempt, COMPLETED, opening_batch(ended_attempt))
    running_attempt = claim(core, submit(core, client))
    core.attempts.append_events([opening_batch(running_attempt)])
    with responses_guard_disabled(settings):
        sql(settings, "update responses set created_at = now() - interval '30 days'")

    core.sweep.run()

    assert sql(settings, "select count(*) from responses where events_n is null") == [(2,)]
    assert len(read_events(core, ended_attempt.response_id)) > 3


def test_the_rebuilt_log_of_a_response_that_never_ran_has_no_in_progress_event(core: Core, settings: Settings) -> None:
    client = create_caller(core)
    response_id = submit(core, client)
    core.responses.cancel(client, response_id)
    events_before = read_events(core, response_id)
    move_end_to_past(settings, response_id)

    core.sweep.run()

    assert [event["type"] for event in events_before] == ["response.created", "response.queued", "response.failed"]
    assert read_events(core, response_id) == events_before


@pytest.fixture
def run_tail(settings: Settings) -> RunTail:
    """A function that runs `backburner responses tail` for a response, with the servers of the test."""

    def run_command(response_id: str) -> Result:
        env = {
            "BACKBURNER_HOME": str(settings.home),
            "BACKBURNER_CONFIG": str(settings.config),
            "BACKBURNER_DATABASE_URL": settings.database_url.get_secret_value(),
            "BACKBURNER_REDIS_URL": settings.redis_url.get_secret_value(),
        }
        return CliRunner().invoke(main, ["responses", "tail", response_id], env=env)

    return run_command


def test_tail_prints_the_text_and_the_status_of_a_response(core: Core, settings: Settings, run_tail: RunTail) -> None:
    register_worker(core)
    response_id = create_old_response(core, settings, ["It is ", "\x1b[31mred", "\n"])
    result = run_tail(response_id)
    core.sweep.run()

    assert result.exit_code == 0, result.output
    assert result.output == "Hello\nIt is \N{REPLACEMENT CHARACTER}[31mred\ncompleted\n"
    assert run_tail(response_id).output == result.output


def test_tail_waits_for_the_end_of_a_running_response_and_reports_its_failure(core: Core, run_tail: RunTail) -> None:
    register_worker(core)
    attempt = claim(core, submit(core, create_caller(core)))
    first_batch = opening_batch(attempt)
    core.attempts.append_events([first_batch])

    with ThreadPoolExecutor(1) as thread:
        future = thread.submit(run_tail, attempt.response_id)
        core.attempts.end(
            attempt, failed_outcome("server_error", "It broke."), batch(attempt, [], first_batch.next_seq)
        )
        result = future.result(20)

    assert result.exit_code == 1
    assert result.output == "Hello\nfailed: server_error: It broke.\n"


def test_tail_reports_an_unknown_response(core: Core, run_tail: RunTail) -> None:
    result = run_tail("resp_" + "0" * 48)

    assert result.exit_code == 1
    assert "There is no response" in result.output
