"""Encrypted reasoning that clients pass from turn to turn: its content, who may use it, and what is refused."""

from collections.abc import Iterator
from typing import Any

import pytest

from core import jsonio
from core.bootstrap import open_core
from core.runs import events_sql
from core.settings import Settings
from core.wire import response as document
from core.wire import transcript
from tests.harness.engine import claim, worker
from tests.http.http_api import Api, checked, error_of
from worker.models.protocol import ItemDone, Output, ReasoningDelta, SummaryDelta, TextDelta
from worker.run.output import OutputWriter
from worker.run.run import Run

KEY = "key-one-" + "k" * 32
INCLUDE = {"include": ["reasoning.encrypted_content"]}
THOUGHT: tuple[Output, ...] = (ReasoningDelta("six times seven"), SummaryDelta("It multiplies."), ItemDone("own blob"))


@pytest.fixture
def api(settings: Settings) -> Iterator[Api]:
    """A server with an encryption key."""
    with open_core(settings.model_copy(update={"secret_key": secret(KEY)})) as core:
        worker(core, slots=1000)
        yield Api(core)


def secret(text: str) -> Any:
    return Settings(secret_key=text).secret_key


def answered(api: Api, *outputs: Output, **changes: Any) -> dict[str, Any]:
    """Run a response with these outputs of the model server; return the final document."""
    response_id = api.created(**changes)["id"]
    attempt = claim(api.core, response_id)
    run = Run(attempt, leased_until=0, wake=lambda _: None, wake_later=lambda: None)
    run.emit([transcript.lifecycle(document.running(jsonio.loads(attempt.document), []))])
    answer = OutputWriter(run, api.core.seals)
    for output in outputs:
        answer.add(output)
    assert api.core.attempts.end(attempt, answer.outcome(), run.freeze())
    return checked(api.get(response_id), "completed")


def thought(api: Api, **changes: Any) -> dict[str, Any]:
    """A reasoning item with encrypted content."""
    return answered(api, *THOUGHT, TextDelta("42"), **INCLUDE, **changes)["output"][0]


def shown(api: Api, **changes: Any) -> list[dict[str, Any]]:
    """The context that the worker receives."""
    return claim(api.core, api.created(**changes)["id"]).context


def stateless(item: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The fields of a next turn with this item; a change to None removes a field."""
    item = {key: value for key, value in (item | changes).items() if value is not None}
    return {"input": [{"role": "user", "content": "6 * 7?"}, item, {"role": "user", "content": "And times 2?"}]}


def test_an_item_is_encrypted_when_it_is_done_and_in_the_object(api: Api) -> None:
    response = answered(api, *THOUGHT, TextDelta("42"), **INCLUDE)

    with api.core.attempts._database.connection() as connection:
        log = [jsonio.loads(line) for line in events_sql.read(connection, response["id"])]
    added, done = (
        next(event["item"] for event in log if event["type"] == f"response.output_item.{end}")
        for end in ("added", "done")
    )
    assert done == response["output"][0]
    assert done["type"] == "reasoning"
    assert "encrypted_content" not in added
    assert "own blob" not in str(response)


def test_reasoning_that_is_the_end_of_an_answer_is_encrypted_too(api: Api) -> None:
    response = answered(api, ReasoningDelta("hm"), **INCLUDE)

    assert [(item["type"], item["status"]) for item in response["output"]] == [("reasoning", "completed")]
    assert response["output"][0]["encrypted_content"]


def test_nothing_is_encrypted_that_was_not_asked_for(api: Api) -> None:
    assert "encrypted_content" not in answered(api, *THOUGHT, TextDelta("42"))["output"][0]


@pytest.mark.parametrize(
    "left_out", [{}, {"content": None, "status": None}, {"content": None, "summary": None, "id": None}]
)
def test_the_model_gets_its_reasoning_back_from_an_item_stripped_of_it(api: Api, left_out: dict[str, Any]) -> None:
    item = thought(api)

    context = shown(api, **stateless(item, **left_out))

    assert context[1]["content"] == [{"type": "reasoning_text", "text": "six times seven"}]
    assert context[1]["summary"] == [{"type": "summary_text", "text": "It multiplies."}]
    assert context[1]["encrypted_content"] == "own blob"


def test_another_model_gets_the_words_and_not_what_only_the_first_can_read(api: Api) -> None:
    context = shown(api, **stateless(thought(api), content=None), model="narrow")

    assert context[1]["content"] == [{"type": "reasoning_text", "text": "six times seven"}]
    assert "encrypted_content" not in context[1]


def test_a_chain_gives_the_reasoning_back_as_well(api: Api) -> None:
    parent = answered(api, *THOUGHT, TextDelta("42"), **INCLUDE)

    context = shown(api, previous_response_id=parent["id"])

    assert context[1]["encrypted_content"] == "own blob"
    assert context[1]["content"] == [{"type": "reasoning_text", "text": "six times seven"}]


def test_what_is_stored_and_listed_is_what_was_sent(api: Api) -> None:
    item = thought(api)

    created = api.created(**stateless(item, content=None))

    listed = api.items(created["id"]).get_json()["data"][1]
    assert listed["encrypted_content"] == item["encrypted_content"]
    assert "content" not in listed
    ((packed,),) = api.sql("select request from responses where id = %s", created["id"])
    assert "six times seven" not in packed


@pytest.mark.parametrize("content", ["x", "gAAAAABoISQ24OyVRYbkYfukdJoqdzWT-3uiEr", "AQAB" * 30, "é", "A" * 10_000])
def test_an_encrypted_content_that_is_none_of_ours_is_refused(api: Api, content: str) -> None:
    before = api.stored()

    says = error_of(
        api.create(**stateless({"type": "reasoning", "summary": [], "encrypted_content": content})),
        400,
        "invalid_encrypted_content",
        "input[1].encrypted_content",
    )

    assert "could not be verified" in says
    assert api.stored() == before


def test_one_that_was_changed_is_refused(api: Api) -> None:
    item = thought(api)
    sealed = item["encrypted_content"]
    changed = sealed[:50] + ("A" if sealed[50] != "A" else "B") + sealed[51:]

    error_of(
        api.create(**stateless(item, encrypted_content=changed)),
        400,
        "invalid_encrypted_content",
        "input[1].encrypted_content",
    )


def test_one_of_another_project_is_refused(api: Api) -> None:
    item = thought(api)
    other = api.core.keys.create(project="other")

    says = error_of(
        api.create(key=other, **stateless(item)), 400, "invalid_encrypted_content", "input[1].encrypted_content"
    )

    assert "another project" in says


def test_a_rotated_key_still_opens_and_one_that_was_taken_away_does_not(api: Api, settings: Settings) -> None:
    item = thought(api)
    new = "key-two-" + "n" * 32

    with open_core(settings.model_copy(update={"secret_key": secret(f"{new}, {KEY}")})) as core:
        rotated = Api(core)
        assert shown(rotated, **stateless(item, content=None))[1]["encrypted_content"] == "own blob"
        again = thought(rotated)
    with open_core(settings.model_copy(update={"secret_key": secret(new)})) as core:
        alone = Api(core)
        assert shown(alone, **stateless(again))[1]["encrypted_content"] == "own blob"
        says = error_of(alone.create(**stateless(item)), 400, "invalid_encrypted_content", "input[1].encrypted_content")
        assert "a key that this server does not have" in says


def test_a_chain_whose_key_was_taken_away_goes_on_with_what_its_client_sees(api: Api, settings: Settings) -> None:
    parent = answered(api, *THOUGHT, TextDelta("42"), **INCLUDE)

    with open_core(settings.model_copy(update={"secret_key": secret("another-key")})) as core:
        context = shown(Api(core), previous_response_id=parent["id"])

    assert context[1]["content"] == [{"type": "reasoning_text", "text": "six times seven"}]
    assert "encrypted_content" not in context[1]


def test_a_server_without_a_key_refuses_both_to_encrypt_and_to_open(api: Api, settings: Settings) -> None:
    item = thought(api)

    with open_core(settings) as core:
        keyless = Api(core)
        says = error_of(keyless.create(**INCLUDE), 400, "unsupported_parameter", "include")
        assert "BACKBURNER_SECRET_KEY" in says
        error_of(keyless.create(**stateless(item)), 400, "invalid_value", "input[1].encrypted_content")
        assert keyless.create(**stateless(item, encrypted_content=None)).status_code == 200
