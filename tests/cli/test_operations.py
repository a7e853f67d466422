"""Operators' commands for responses: show, list, cancel and requeue."""

import base64
import json

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from core import errors
from core.bootstrap import Core
from core.runs.attempt import HandBack
from core.runs.ends import failed_outcome
from core.settings import Settings
from core.tenants.keys import Caller
from tests.harness.engine import COMPLETED, claim, create_caller, opening_batch, register_worker, sql, submit

INPUT = [{"role": "user", "content": "What is it?"}]


def read_document(core: Core, project_caller: Caller, response_id: str) -> dict:
    """Return the response object that a poll returns."""
    return json.loads(core.responses.get(project_caller, response_id)[0])


def create_failed_response(core: Core, project_caller: Caller, **fields: object) -> str:
    """Create a response that fails after some of its output was streamed; return its ID."""
    attempt = claim(core, submit(core, project_caller, **fields))
    core.attempts.end(
        attempt, failed_outcome("server_error", "It broke.", cause="a precise cause"), opening_batch(attempt, "Half")
    )
    return attempt.response_id


@pytest.fixture
def run_command(settings: Settings):
    """A function that runs a `backburner` command with the servers of this test."""

    def run_command(*arguments: str) -> Result:
        env = {
            "BACKBURNER_HOME": str(settings.home),
            "BACKBURNER_CONFIG": str(settings.config),
            "BACKBURNER_DATABASE_URL": settings.database_url.get_secret_value(),
            "BACKBURNER_REDIS_URL": settings.redis_url.get_secret_value(),
        }
        return CliRunner().invoke(main, arguments, env=env)

    return run_command


def test_requeue_creates_a_response_with_the_same_request_and_a_link_to_the_old_one(
    core: Core, settings: Settings
) -> None:
    register_worker(core)
    project_caller = create_caller(core)
    old_id = create_failed_response(
        core, project_caller, input=INPUT, instructions="Be short.", metadata={"a": "b"}, service_tier="flex"
    )
    old_document = read_document(core, project_caller, old_id)

    new_id = core.operations.requeue(old_id)

    new_document = read_document(core, project_caller, new_id)
    changed_keys = {"id", "status", "error", "output", "created_at"}
    assert {key: value for key, value in new_document.items() if key not in changed_keys} == {
        key: value for key, value in old_document.items() if key not in changed_keys
    }
    assert (new_document["id"], new_document["status"], new_document["error"], new_document["output"]) == (
        new_id,
        "queued",
        None,
        [],
    )
    assert read_document(core, project_caller, old_id) == old_document
    attempt = claim(core, new_id)
    assert attempt.request.instructions == "Be short."
    ((old_request,),) = sql(settings, "select request from responses where id = %s", old_id)
    assert attempt.context == json.loads(old_request)["context"]
    core.attempts.end(attempt, COMPLETED, opening_batch(attempt, "All of it"))
    assert read_document(core, project_caller, new_id)["status"] == "completed"

    assert core.operations.show(new_id)[0].requeued_from == old_id
    assert core.operations.show(old_id)[0].requeued_as == [new_id]


def test_a_requeued_response_has_a_complete_log_and_its_own_items(core: Core, settings: Settings) -> None:
    register_worker(core)
    project_caller = create_caller(core)
    parent_id = create_failed_response(core, project_caller, input=INPUT)
    child_id = create_failed_response(core, project_caller, previous_response_id=parent_id)
    core.responses.delete(project_caller, parent_id)

    new_id = core.operations.requeue(child_id)
    attempt = claim(core, new_id)
    core.attempts.end(attempt, COMPLETED, opening_batch(attempt, "All of it"))

    events = [
        json.loads(line)
        for (data,) in sql(
            settings, "select data from response_events where response_id = %s order by first_seq", new_id
        )
        for line in data.split("\n")
    ]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events[:3]] == ["response.created", "response.queued", "response.in_progress"]
    assert events[-1]["response"] == read_document(core, project_caller, new_id)
    items = [
        json.loads(data)
        for data in core.responses.input_items(project_caller, new_id, limit=10, descending=False, after=None).data
    ]
    assert items[0]["content"][0]["text"] == "What is it?"
    own_item_id = items[-1]["id"]
    core.responses.delete(project_caller, child_id)
    assert submit(
        core, project_caller, input=[{"type": "item_reference", "id": own_item_id}], previous_response_id=None
    )


def test_large_contents_of_a_requeued_response_outlive_the_old_response(core: Core, settings: Settings) -> None:
    register_worker(core)
    project_caller = create_caller(core)
    data = "data:text/plain;base64," + base64.b64encode(b"A long story. " * 20_000).decode()
    file = {"type": "input_file", "filename": "story.txt", "file_data": data}
    old_id = create_failed_response(core, project_caller, input=[{"role": "user", "content": [file]}])
    assert sql(settings, "select count(*) from response_contents") == [(1,)]

    new_id = core.operations.requeue(old_id)
    core.responses.delete(project_caller, old_id)
    core.sweep.run()

    assert sql(settings, "select response_id from response_contents") == [(new_id,)]
    assert list(core.attempts.contents(claim(core, new_id)).values()) == [data]


def test_a_foreground_response_is_requeued_in_the_background(core: Core, settings: Settings) -> None:
    register_worker(core)
    project_caller = create_caller(core)
    old_id = create_failed_response(core, project_caller, background=False)

    new_id = core.operations.requeue(old_id)

    assert read_document(core, project_caller, new_id)["background"] is True
    assert sql(settings, "select background, followed_until from responses where id = %s", new_id) == [(True, None)]
    assert claim(core, new_id).request.background


def test_a_cancelled_response_can_be_requeued(core: Core) -> None:
    register_worker(core)
    project_caller = create_caller(core)
    old_id = submit(core, project_caller)
    core.responses.cancel(project_caller, old_id)

    assert claim(core, core.operations.requeue(old_id)).number == 1


def test_an_invalid_requeue_is_rejected_with_the_reason_and_writes_nothing(core: Core, settings: Settings) -> None:
    register_worker(core)
    project_caller = create_caller(core)
    running_attempt = claim(core, submit(core, project_caller))
    completed_attempt = claim(core, submit(core, project_caller))
    core.attempts.end(completed_attempt, COMPLETED, opening_batch(completed_attempt))
    unstored_id = create_failed_response(core, project_caller, store=False, background=False)
    unknown_model_id = create_failed_response(core, project_caller)
    sql(settings, "alter table responses disable trigger responses_guard")
    sql(settings, "update responses set model = 'gone' where id = %s", unknown_model_id)
    sql(settings, "alter table responses enable trigger responses_guard")
    foreign_id = create_failed_response(core, create_caller(core, "other"))
    row_counts = sql(settings, "select count(*) from responses")

    for response_id, project, error, text in [
        (running_attempt.response_id, None, errors.InvalidRequest, "is in_progress"),
        (completed_attempt.response_id, None, errors.InvalidRequest, "is completed"),
        (unstored_id, None, errors.InvalidRequest, "store false"),
        (unknown_model_id, None, errors.UnknownModel, "gone"),
        (foreign_id, "default", errors.NotFound, "There is no response"),
        ("resp_nobody", None, errors.NotFound, "There is no response 'resp_nobody'"),
    ]:
        with pytest.raises(error, match=text):
            core.operations.requeue(response_id, project=project)

    assert sql(settings, "select count(*) from responses") == row_counts


def test_a_response_is_requeued_again_only_after_its_successor_failed(core: Core) -> None:
    register_worker(core)
    project_caller = create_caller(core)
    old_id = create_failed_response(core, project_caller)
    first_id = core.operations.requeue(old_id)

    with pytest.raises(errors.InvalidRequest, match=f"already requeued as '{first_id}'"):
        core.operations.requeue(old_id)
    attempt = claim(core, first_id)
    core.attempts.end(attempt, failed_outcome("server_error", "Again."), opening_batch(attempt))

    assert core.operations.requeue(old_id) != first_id


def test_the_requeue_command_prints_both_ids_and_reports_rejections(core: Core, run_command) -> None:
    register_worker(core)
    project_caller = create_caller(core)
    old_id, queued_id = create_failed_response(core, project_caller), submit(core, project_caller)

    result = run_command("responses", "requeue", old_id, queued_id)

    (line,) = result.stdout.splitlines()
    new_id = line.split(" ")[0]
    assert line == f"{new_id} (from {old_id})"
    assert core.operations.show(new_id)[0].requeued_from == old_id
    assert result.exit_code == 1
    assert f"Error: '{queued_id}' is queued: it has not ended." in result.stderr


def test_the_show_command_prints_every_attempt_with_its_cause(core: Core, settings: Settings, run_command) -> None:
    register_worker(core)
    project_caller = create_caller(core)
    response_id = submit(core, project_caller)
    core.attempts.hand_back(claim(core, response_id), HandBack("The model server answered 503.", awaits_server=True))
    sql(settings, "update responses set dispatched_at = now()")
    attempt = claim(core, response_id, "w2")
    core.attempts.record_dropped_items(attempt, ["msg_1", "msg_2"])
    core.attempts.end(
        attempt, failed_outcome("server_error", "It broke.", cause="a precise cause"), opening_batch(attempt)
    )
    new_id = core.operations.requeue(response_id)

    output = run_command("responses", "show", response_id).stdout

    assert "waited: The model server answered 503." in output
    assert "on w2, without the 2 oldest items, failed: a precise cause" in output
    assert "server_error: It broke." in output
    assert f"requeued as {new_id}" in " ".join(output.split())
    assert "default" in output
    report = json.loads(run_command("responses", "show", "--json", response_id).stdout)
    assert [row["outcome"] for row in report["attempts"]] == ["waited", "failed"]
    assert [row["dropped"] for row in report["attempts"]] == [None, ["msg_1", "msg_2"]]
    assert f"requeued from {response_id}" in " ".join(run_command("responses", "show", new_id).stdout.split())


def test_the_show_command_prints_what_a_queued_response_waits_for(core: Core, run_command) -> None:
    response_id = submit(core, create_caller(core))

    lines = run_command("responses", "show", response_id).stdout.splitlines()
    report = json.loads(run_command("responses", "show", "--json", response_id).stdout)

    assert "waits for     a worker: none is alive" in lines
    assert "reason        no_worker" in lines
    assert (report["reason"], report["waits_for"], report["lane"]) == (
        "no_worker",
        "a worker: none is alive",
        "default",
    )
    core.operations.cancel(response_id)
    assert "waits for" not in run_command("responses", "show", response_id).stdout
    assert json.loads(run_command("responses", "show", "--json", response_id).stdout)["reason"] is None


def test_the_list_command_filters_by_project_status_and_model(core: Core, run_command) -> None:
    register_worker(core)
    first_id = create_failed_response(core, create_caller(core))
    second_id = submit(core, create_caller(core, "other"), model="narrow")

    def list_ids(*arguments: str) -> list[str]:
        return [line.split()[0] for line in run_command("responses", "list", *arguments).stdout.splitlines()]

    assert list_ids() == [second_id, first_id]
    assert list_ids("--project", "other") == [second_id]
    assert list_ids("--status", "failed") == [first_id]
    assert list_ids("--model", "narrow") == [second_id]
    assert list_ids("--limit", "1") == [second_id]


def test_control_characters_of_a_model_server_are_escaped_in_the_output(core: Core, run_command) -> None:
    register_worker(core)
    attempt = claim(core, submit(core, create_caller(core)))
    core.attempts.end(
        attempt, failed_outcome("server_error", "Failed: \x1b[2J\nfake  \x9bline."), opening_batch(attempt, "Half")
    )

    (line,) = run_command("responses", "list").stdout.splitlines()
    output = run_command("responses", "show", attempt.response_id).stdout

    for text in (line, output):
        assert "Failed: \\x1b[2J\\nfake  \\x9bline." in text


def test_the_cancel_command_also_cancels_foreground_responses(core: Core, run_command) -> None:
    register_worker(core)
    project_caller = create_caller(core)
    running_attempt = claim(core, submit(core, project_caller, background=False))

    assert (
        run_command("responses", "cancel", running_attempt.response_id).stdout
        == f"{running_attempt.response_id} is cancelled.\n"
    )
    assert "had already ended" in run_command("responses", "cancel", running_attempt.response_id).stdout
    assert run_command("responses", "cancel", "resp_nobody").exit_code == 1
    assert read_document(core, project_caller, running_attempt.response_id)["status"] == "cancelled"
