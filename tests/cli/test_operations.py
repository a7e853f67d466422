"""Operators' commands for responses: show with history, cancel, requeue."""

import base64
import json

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from core import errors
from core.bootstrap import Core
from core.runs.attempts import HandBack
from core.runs.ends import failed
from core.settings import Settings
from core.tenants.keys import Caller
from tests.harness.engine import COMPLETED, caller, claim, opening, sql, submit, worker

INPUT = [{"role": "user", "content": "What is it?"}]


def broken(core: Core, who: Caller, **fields: object) -> str:
    """A response that failed after some output was shown."""
    attempt = claim(core, submit(core, who, **fields))
    core.attempts.end(attempt, failed("server_error", "It broke.", cause="a precise cause"), opening(attempt, "Half"))
    return attempt.response_id


@pytest.fixture
def run(settings: Settings):
    """A function that runs a `backburner` command on this test's servers."""

    def run(*words: str) -> Result:
        env = {
            "BACKBURNER_HOME": str(settings.home),
            "BACKBURNER_CONFIG": str(settings.config),
            "BACKBURNER_DATABASE_URL": settings.database_url.get_secret_value(),
            "BACKBURNER_REDIS_URL": settings.redis_url.get_secret_value(),
        }
        return CliRunner().invoke(main, words, env=env)

    return run


def test_a_requeued_response_is_a_new_one_with_the_same_request_and_says_where_it_is_from(
    core: Core, settings: Settings
) -> None:
    worker(core)
    who = caller(core)
    old_id = broken(core, who, input=INPUT, instructions="Be short.", metadata={"a": "b"}, service_tier="flex")
    before = core.responses.get(who, old_id)

    new_id = core.operations.requeue(old_id)

    old, new = json.loads(before[0]), json.loads(core.responses.get(who, new_id)[0])
    changed = {"id", "status", "error", "output", "created_at"}
    assert {key: value for key, value in new.items() if key not in changed} == {
        key: value for key, value in old.items() if key not in changed
    }
    assert (new["id"], new["status"], new["error"], new["output"]) == (new_id, "queued", None, [])
    assert core.responses.get(who, old_id) == before
    attempt = claim(core, new_id)
    assert attempt.request.instructions == "Be short."
    assert (
        attempt.context
        == json.loads(sql(settings, "select request from responses where id = %s", old_id)[0][0])["context"]
    )
    core.attempts.end(attempt, COMPLETED, opening(attempt, "Whole"))
    assert json.loads(core.responses.get(who, new_id)[0])["status"] == "completed"

    assert core.operations.show(new_id)[0].requeued_from == old_id
    assert core.operations.show(old_id)[0].requeued_as == [new_id]


def test_a_requeued_response_has_a_whole_log_and_can_be_built_on(core: Core, settings: Settings) -> None:
    worker(core)
    who = caller(core)
    parent = broken(core, who, input=INPUT)
    child = broken(core, who, previous_response_id=parent)
    core.responses.delete(who, parent)

    new_id = core.operations.requeue(child)
    attempt = claim(core, new_id)
    core.attempts.end(attempt, COMPLETED, opening(attempt, "Whole"))

    log = [
        json.loads(line)
        for (data,) in sql(
            settings, "select data from response_events where response_id = %s order by first_seq", new_id
        )
        for line in data.split("\n")
    ]
    assert [event["sequence_number"] for event in log] == list(range(len(log)))
    assert [event["type"] for event in log[:3]] == ["response.created", "response.queued", "response.in_progress"]
    assert log[-1]["response"] == json.loads(core.responses.get(who, new_id)[0])
    items = json.loads(core.responses.input_items(who, new_id, limit=10, descending=False, after=None).data[0])
    assert items["content"][0]["text"] == "What is it?"
    own = json.loads(core.responses.input_items(who, new_id, limit=10, descending=True, after=None).data[0])["id"]
    core.responses.delete(who, child)
    assert submit(core, who, input=[{"type": "item_reference", "id": own}], previous_response_id=None)


def test_large_parts_of_a_requeued_response_outlive_the_one_they_came_with(core: Core, settings: Settings) -> None:
    worker(core)
    who = caller(core)
    data = "data:text/plain;base64," + base64.b64encode(b"A long story. " * 20_000).decode()
    file = {"type": "input_file", "filename": "story.txt", "file_data": data}
    old_id = broken(core, who, input=[{"role": "user", "content": [file]}])
    assert sql(settings, "select count(*) from response_contents") == [(1,)]

    new_id = core.operations.requeue(old_id)
    core.responses.delete(who, old_id)
    core.sweep.run()

    assert sql(settings, "select response_id from response_contents") == [(new_id,)]
    assert list(core.attempts.contents(claim(core, new_id)).values()) == [data]


def test_a_foreground_response_is_made_again_in_the_background(core: Core, settings: Settings) -> None:
    worker(core)
    who = caller(core)
    old_id = broken(core, who, background=False)

    new_id = core.operations.requeue(old_id)

    assert json.loads(core.responses.get(who, new_id)[0])["background"] is True
    assert sql(settings, "select background, followed_until from responses where id = %s", new_id) == [(True, None)]
    assert claim(core, new_id).request.background


def test_a_cancelled_response_can_be_made_again(core: Core) -> None:
    worker(core)
    who = caller(core)
    old_id = submit(core, who)
    core.responses.cancel(who, old_id)

    assert claim(core, core.operations.requeue(old_id)).number == 1


def test_what_must_not_be_made_again_is_refused_with_the_reason_and_writes_nothing(
    core: Core, settings: Settings
) -> None:
    worker(core)
    who = caller(core)
    running = claim(core, submit(core, who))
    done = claim(core, submit(core, who))
    core.attempts.end(done, COMPLETED, opening(done))
    unstored = broken(core, who, store=False, background=False)
    gone = broken(core, who)
    sql(settings, "alter table responses disable trigger responses_guard")
    sql(settings, "update responses set model = 'gone' where id = %s", gone)
    sql(settings, "alter table responses enable trigger responses_guard")
    foreign = broken(core, caller(core, "other"))
    before = sql(settings, "select count(*) from responses")

    for response_id, project, error, text in [
        (running.response_id, None, errors.InvalidRequest, "is in_progress"),
        (done.response_id, None, errors.InvalidRequest, "is completed"),
        (unstored, None, errors.InvalidRequest, "store false"),
        (gone, None, errors.UnknownModel, "gone"),
        (foreign, "default", errors.NotFound, "There is no response"),
        ("resp_nobody", None, errors.NotFound, "There is no response 'resp_nobody'"),
    ]:
        with pytest.raises(error, match=text):
            core.operations.requeue(response_id, project=project)

    assert sql(settings, "select count(*) from responses") == before


def test_a_response_is_made_again_once_unless_that_fails_too(core: Core) -> None:
    worker(core)
    who = caller(core)
    old_id = broken(core, who)
    first = core.operations.requeue(old_id)

    with pytest.raises(errors.InvalidRequest, match=f"already requeued as '{first}'"):
        core.operations.requeue(old_id)
    attempt = claim(core, first)
    core.attempts.end(attempt, failed("server_error", "Again."), opening(attempt))

    assert core.operations.requeue(old_id) != first


def test_the_command_prints_new_and_old_and_fails_for_those_it_refuses(core: Core, run) -> None:
    worker(core)
    who = caller(core)
    old_id, queued = broken(core, who), submit(core, who)

    result = run("responses", "requeue", old_id, queued)

    (line,) = result.stdout.splitlines()
    new_id = line.split(" ")[0]
    assert line == f"{new_id} (from {old_id})"
    assert core.operations.show(new_id)[0].requeued_from == old_id
    assert result.exit_code == 1
    assert f"Error: '{queued}' is queued: it has not ended." in result.stderr


def test_an_operator_sees_every_attempt_with_its_cause(core: Core, settings: Settings, run) -> None:
    worker(core)
    who = caller(core)
    response_id = submit(core, who)
    core.attempts.hand_back(claim(core, response_id), HandBack("The model server answered 503.", waited=True))
    sql(settings, "update responses set dispatched_at = now()")
    attempt = claim(core, response_id, "w2")
    core.attempts.note_dropped(attempt, ["msg_1", "msg_2"])
    core.attempts.end(attempt, failed("server_error", "It broke.", cause="a precise cause"), opening(attempt))
    new_id = core.operations.requeue(response_id)

    shown = run("responses", "show", response_id).stdout

    assert "waited: The model server answered 503." in shown
    assert "on w2, without the 2 oldest items, failed: a precise cause" in shown
    assert "server_error: It broke." in shown
    assert f"requeued as {new_id}" in " ".join(shown.split())
    assert "default" in shown
    as_json = json.loads(run("responses", "show", "--json", response_id).stdout)
    assert [run["outcome"] for run in as_json["attempts"]] == ["waited", "failed"]
    assert [run["dropped"] for run in as_json["attempts"]] == [None, ["msg_1", "msg_2"]]
    assert f"requeued from {response_id}" in " ".join(run("responses", "show", new_id).stdout.split())


def test_the_list_narrows_by_project_status_and_model(core: Core, run) -> None:
    worker(core)
    first = broken(core, caller(core))
    second = submit(core, caller(core, "other"), model="narrow")

    def ids(*words: str) -> list[str]:
        return [line.split()[0] for line in run("responses", "list", *words).stdout.splitlines()]

    assert ids() == [second, first]
    assert ids("--project", "other") == [second]
    assert ids("--status", "failed") == [first]
    assert ids("--model", "narrow") == [second]
    assert ids("--limit", "1") == [second]


def test_what_a_model_server_says_stays_in_its_line_of_the_list_and_of_a_response(core: Core, run) -> None:
    worker(core)
    attempt = claim(core, submit(core, caller(core)))
    core.attempts.end(attempt, failed("server_error", "It said: \x1b[2J\nfake  \x9bline."), opening(attempt, "Half"))

    (listed,) = run("responses", "list").stdout.splitlines()
    shown = run("responses", "show", attempt.response_id).stdout

    for told in (listed, shown):
        assert "It said: \\x1b[2J\\nfake  \\x9bline." in told


def test_an_operator_cancels_a_foreground_response_too(core: Core, run) -> None:
    worker(core)
    who = caller(core)
    running = claim(core, submit(core, who, background=False))

    assert run("responses", "cancel", running.response_id).stdout == f"{running.response_id} is cancelled.\n"
    assert "had already ended" in run("responses", "cancel", running.response_id).stdout
    assert run("responses", "cancel", "resp_nobody").exit_code == 1
    assert json.loads(core.responses.get(who, running.response_id)[0])["status"] == "cancelled"
