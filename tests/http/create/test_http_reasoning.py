"""Encrypted reasoning that clients return with the next turn: its content, its encryption keys, and rejections."""

from collections.abc import Iterator
from typing import Any

import pytest

from core import jsonio
from core.bootstrap import open_core
from core.runs import events_sql
from core.settings import Settings
from core.wire import response as wire_response
from core.wire import transcript
from tests.harness.engine import claim, register_worker
from tests.http.http_api import Api, check_document, check_error
from worker.models.protocol import ItemEnd, Output, ReasoningDelta, SummaryDelta, TextDelta
from worker.run.output import OutputWriter
from worker.run.run import Run

ENCRYPTION_KEY = "key-one-" + "k" * 32
# The `encrypted_content` of the model server, which the API encrypts together with the text of the reasoning.
MODEL_SERVER_DATA = "data of the model server"
INCLUDE = {"include": ["reasoning.encrypted_content"]}
REASONING_OUTPUTS: tuple[Output, ...] = (
    ReasoningDelta("six times seven"),
    SummaryDelta("It multiplies."),
    ItemEnd(MODEL_SERVER_DATA),
)


@pytest.fixture
def api(settings: Settings) -> Iterator[Api]:
    """A client of the application with an encryption key and a registered worker."""
    with open_core(settings.model_copy(update={"secret_key": secret_key(ENCRYPTION_KEY)})) as core:
        register_worker(core, slots=1000)
        yield Api(core)


def secret_key(text: str) -> Any:
    """The value of the setting `secret_key` for this text."""
    return Settings(secret_key=text).secret_key


def create_ended_response(api: Api, *outputs: Output, **changes: Any) -> dict[str, Any]:
    """Create a response, run it with these outputs of the model server, and return its final document."""
    response_id = api.create_response(**changes)["id"]
    attempt = claim(api.core, response_id)
    run = Run(attempt, leased_until=0, wake=lambda _: None, wake_later=lambda: None)
    run.emit([transcript.lifecycle(wire_response.running_document(jsonio.loads(attempt.document), []))])
    writer = OutputWriter(run, api.core.seals, limit_bytes=api.core.settings.output_limit_bytes)
    for output in outputs:
        writer.add(output)
    assert api.core.attempts.end(attempt, writer.outcome(), run.freeze_batch())
    return check_document(api.get_response(response_id), "completed")


def create_reasoning_item(api: Api, **changes: Any) -> dict[str, Any]:
    """Create a response with reasoning; return its reasoning item, which has encrypted content."""
    return create_ended_response(api, *REASONING_OUTPUTS, TextDelta("42"), **INCLUDE, **changes)["output"][0]


def create_and_read_context(api: Api, **changes: Any) -> list[dict[str, Any]]:
    """Create a response and claim it; return the context that its worker receives."""
    return claim(api.core, api.create_response(**changes)["id"]).context


def request_with_item(item: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The request fields for a next turn that contains the item; a change to None removes a field of the item."""
    item = {key: value for key, value in (item | changes).items() if value is not None}
    return {"input": [{"role": "user", "content": "6 * 7?"}, item, {"role": "user", "content": "And times 2?"}]}


def test_a_finished_reasoning_item_is_encrypted(api: Api) -> None:
    response = create_ended_response(api, *REASONING_OUTPUTS, TextDelta("42"), **INCLUDE)

    with api.core.attempts._database.connection() as connection:
        events = [jsonio.loads(line) for line in events_sql.read_log(connection, response["id"])]
    added_item, done_item = (
        next(event["item"] for event in events if event["type"] == f"response.output_item.{event_kind}")
        for event_kind in ("added", "done")
    )
    assert done_item == response["output"][0]
    assert done_item["type"] == "reasoning"
    assert "encrypted_content" not in added_item
    assert MODEL_SERVER_DATA not in str(response)


def test_reasoning_at_the_end_of_an_output_is_encrypted(api: Api) -> None:
    response = create_ended_response(api, ReasoningDelta("hm"), **INCLUDE)

    assert [(item["type"], item["status"]) for item in response["output"]] == [("reasoning", "completed")]
    assert response["output"][0]["encrypted_content"]


def test_reasoning_is_encrypted_only_on_request(api: Api) -> None:
    assert "encrypted_content" not in create_ended_response(api, *REASONING_OUTPUTS, TextDelta("42"))["output"][0]


@pytest.mark.parametrize(
    "changes", [{}, {"content": None, "status": None}, {"content": None, "summary": None, "id": None}]
)
def test_a_model_receives_its_reasoning_from_an_item_without_text(api: Api, changes: dict[str, Any]) -> None:
    item = create_reasoning_item(api)

    context = create_and_read_context(api, **request_with_item(item, **changes))

    assert context[1]["content"] == [{"type": "reasoning_text", "text": "six times seven"}]
    assert context[1]["summary"] == [{"type": "summary_text", "text": "It multiplies."}]
    assert context[1]["encrypted_content"] == MODEL_SERVER_DATA


def test_another_model_receives_the_text_but_not_the_data_of_the_first_model(api: Api) -> None:
    context = create_and_read_context(
        api, **request_with_item(create_reasoning_item(api), content=None), model="narrow"
    )

    assert context[1]["content"] == [{"type": "reasoning_text", "text": "six times seven"}]
    assert "encrypted_content" not in context[1]


def test_a_model_receives_its_reasoning_from_a_chain(api: Api) -> None:
    parent = create_ended_response(api, *REASONING_OUTPUTS, TextDelta("42"), **INCLUDE)

    context = create_and_read_context(api, previous_response_id=parent["id"])

    assert context[1]["encrypted_content"] == MODEL_SERVER_DATA
    assert context[1]["content"] == [{"type": "reasoning_text", "text": "six times seven"}]


def test_encrypted_content_is_stored_and_listed_unchanged(api: Api) -> None:
    item = create_reasoning_item(api)

    response = api.create_response(**request_with_item(item, content=None))

    listed_item = api.list_input_items(response["id"]).get_json()["data"][1]
    assert listed_item["encrypted_content"] == item["encrypted_content"]
    assert "content" not in listed_item
    ((request_text,),) = api.sql("select request from responses where id = %s", response["id"])
    assert "six times seven" not in request_text


@pytest.mark.parametrize("content", ["x", "gAAAAABoISQ24OyVRYbkYfukdJoqdzWT-3uiEr", "AQAB" * 30, "é", "A" * 10_000])
def test_encrypted_content_from_another_server_is_rejected(api: Api, content: str) -> None:
    row_counts = api.count_rows()

    message = check_error(
        api.post_response(**request_with_item({"type": "reasoning", "summary": [], "encrypted_content": content})),
        400,
        "invalid_encrypted_content",
        "input[1].encrypted_content",
    )

    assert "could not be verified" in message
    assert api.count_rows() == row_counts


def test_modified_encrypted_content_is_rejected(api: Api) -> None:
    item = create_reasoning_item(api)
    encrypted_content = item["encrypted_content"]
    modified_content = encrypted_content[:50] + ("A" if encrypted_content[50] != "A" else "B") + encrypted_content[51:]

    check_error(
        api.post_response(**request_with_item(item, encrypted_content=modified_content)),
        400,
        "invalid_encrypted_content",
        "input[1].encrypted_content",
    )


def test_encrypted_content_of_another_project_is_rejected(api: Api) -> None:
    item = create_reasoning_item(api)
    other_key = api.core.keys.create(project="other")

    message = check_error(
        api.post_response(key=other_key, **request_with_item(item)),
        400,
        "invalid_encrypted_content",
        "input[1].encrypted_content",
    )

    assert "another project" in message


def test_content_can_be_decrypted_with_an_old_key_until_the_key_is_removed(api: Api, settings: Settings) -> None:
    item = create_reasoning_item(api)
    new_key = "key-two-" + "n" * 32

    with open_core(settings.model_copy(update={"secret_key": secret_key(f"{new_key}, {ENCRYPTION_KEY}")})) as core:
        api_with_both_keys = Api(core)
        assert (
            create_and_read_context(api_with_both_keys, **request_with_item(item, content=None))[1]["encrypted_content"]
            == MODEL_SERVER_DATA
        )
        new_item = create_reasoning_item(api_with_both_keys)
    with open_core(settings.model_copy(update={"secret_key": secret_key(new_key)})) as core:
        api_with_new_key = Api(core)
        assert (
            create_and_read_context(api_with_new_key, **request_with_item(new_item))[1]["encrypted_content"]
            == MODEL_SERVER_DATA
        )
        message = check_error(
            api_with_new_key.post_response(**request_with_item(item)),
            400,
            "invalid_encrypted_content",
            "input[1].encrypted_content",
        )
        assert "a key that this server does not have" in message


def test_a_chain_without_its_encryption_key_continues_with_the_visible_reasoning(api: Api, settings: Settings) -> None:
    parent = create_ended_response(api, *REASONING_OUTPUTS, TextDelta("42"), **INCLUDE)

    with open_core(settings.model_copy(update={"secret_key": secret_key("another-key")})) as core:
        context = create_and_read_context(Api(core), previous_response_id=parent["id"])

    assert context[1]["content"] == [{"type": "reasoning_text", "text": "six times seven"}]
    assert "encrypted_content" not in context[1]


def test_a_server_without_a_key_rejects_requests_to_encrypt_or_decrypt(api: Api, settings: Settings) -> None:
    item = create_reasoning_item(api)

    with open_core(settings) as core:
        api_without_key = Api(core)
        message = check_error(api_without_key.post_response(**INCLUDE), 400, "unsupported_parameter", "include")
        assert "BACKBURNER_SECRET_KEY" in message
        check_error(
            api_without_key.post_response(**request_with_item(item)), 400, "invalid_value", "input[1].encrypted_content"
        )
        assert api_without_key.post_response(**request_with_item(item, encrypted_content=None)).status_code == 200
