"""Large parts of requests are stored separately, once per project, until no response needs them any longer."""

import threading
from typing import Any

import psycopg
import pytest

from core import jsonio
from core.bootstrap import open_core
from core.context import contents_sql
from core.context import parts as context_parts
from core.settings import Settings
from tests import documents
from tests.contract.media import file, image
from tests.harness.waiting import until
from tests.http.http_api import Api, check_error

LARGE_URL = documents.data_url("image/png", documents.noise(60))
OTHER_URL = documents.data_url("image/png", documents.noise(61))
SMALL_URL = documents.data_url("image/png", documents.image())
INCLUDE_IMAGES = {"include[]": "message.input_image.image_url"}


def list_contents(api: Api) -> list[str]:
    """The stored contents, oldest first."""
    return [str(row[0]) for row in api.sql("select data from contents order by created_at")]


@pytest.fixture(autouse=True)
def no_contents(worker_api: Api) -> None:
    """Delete the responses and contents of earlier tests."""
    worker_api.sql("delete from responses")
    worker_api.core.sweep.run()
    assert list_contents(worker_api) == []


def request_text(api: Api, response_id: str) -> str:
    return str(api.sql("select request from responses where id = %s", response_id)[0][0])


def image_urls(api: Api, response_id: str, **query: Any) -> list[str | None]:
    """The image URLs among a response's input items."""
    items = api.list_input_items(response_id, **query).get_json()["data"]
    return [part["image_url"] for item in items for part in context_parts.parts(item) if part["type"] == "input_image"]


def test_only_large_contents_are_stored_outside_the_row_of_the_response(worker_api: Api) -> None:
    large_id, small_id = (
        worker_api.create_response(input=image(LARGE_URL))["id"],
        worker_api.create_response(input=image(SMALL_URL))["id"],
    )

    assert list_contents(worker_api) == [LARGE_URL]
    assert LARGE_URL not in request_text(worker_api, large_id)
    assert len(request_text(worker_api, large_id)) < 2000
    assert SMALL_URL in request_text(worker_api, small_id)


def test_the_same_content_is_stored_once_per_project(worker_api: Api, other_key: str) -> None:
    for _ in range(3):
        worker_api.create_response(input=image(LARGE_URL) + image(LARGE_URL))
    worker_api.create_response(input=image(LARGE_URL), key=other_key)

    assert list_contents(worker_api) == [LARGE_URL, LARGE_URL]
    assert len(worker_api.sql("select distinct project_id from contents")) == 2


def test_a_chain_shares_the_contents_of_its_ancestors(worker_api: Api) -> None:
    first_id = worker_api.create_ended_response(input=image(LARGE_URL))["id"]
    second_id = worker_api.create_ended_response(previous_response_id=first_id, input="and?")["id"]
    item_id = worker_api.list_input_items(first_id).get_json()["data"][0]["id"]
    third_id = worker_api.create_response(input=[{"type": "item_reference", "id": item_id}])["id"]

    assert list_contents(worker_api) == [LARGE_URL]
    assert worker_api.sql("select count(*) from response_contents") == [(3,)]
    assert (
        image_urls(worker_api, second_id, **INCLUDE_IMAGES)
        == image_urls(worker_api, third_id, **INCLUDE_IMAGES)
        == [LARGE_URL]
    )


def test_a_worker_can_restore_the_contents_of_a_request(worker_api: Api) -> None:
    text = documents.data_url("text/plain", b"word " * 2000)
    response_id = worker_api.create_response(input=image(LARGE_URL) + image(OTHER_URL) + file(text, "a.txt"))["id"]

    attempt = worker_api.run_response(response_id)
    contents = worker_api.core.attempts.contents(attempt)

    parts = [
        context_parts.insert_content(part, contents) for item in attempt.context for part in context_parts.parts(item)
    ]
    assert [part.get("image_url", part.get("file_data")) for part in parts] == [LARGE_URL, OTHER_URL, text]
    assert LARGE_URL not in jsonio.dumps(attempt.context)


def test_data_urls_of_images_are_listed_only_on_request(worker_api: Api) -> None:
    url = "https://example.com/a.png"
    response_id = worker_api.create_response(input=image(LARGE_URL) + image(SMALL_URL) + image(url))["id"]

    assert image_urls(worker_api, response_id) == [None, None, url]
    assert image_urls(worker_api, response_id, include="computer_call_output.output.image_url") == [None, None, url]
    assert image_urls(worker_api, response_id, **INCLUDE_IMAGES) == [LARGE_URL, SMALL_URL, url]


def test_a_computer_screenshot_is_listed_only_on_request(worker_api: Api) -> None:
    screen = {"type": "computer_screenshot", "image_url": SMALL_URL}
    item = {"type": "computer_call_output", "id": "cuo_1", "call_id": "call_1", "output": screen}
    response_id = worker_api.create_response(input=[item])["id"]

    def list_screen(**query: Any) -> Any:
        return worker_api.list_input_items(response_id, **query).get_json()["data"][0]["output"]["image_url"]

    assert list_screen() is None
    assert list_screen(**INCLUDE_IMAGES) is None
    assert list_screen(include="computer_call_output.output.image_url") == SMALL_URL


def test_files_are_listed_unchanged(worker_api: Api) -> None:
    text = documents.data_url("text/plain", b"word " * 2000)
    response_id = worker_api.create_response(input=file(text, "a.txt", detail="low"))["id"]

    (item,) = worker_api.list_input_items(response_id).get_json()["data"]
    assert item["content"] == [{"type": "input_file", "file_data": text, "filename": "a.txt", "detail": "low"}]


def test_a_page_of_large_items_is_short_and_the_next_page_continues(worker_api: Api) -> None:
    file_url = documents.data_url("text/plain", b"a" * 900_000)
    (message,) = file(file_url, "a.txt")
    items = [message | {"id": f"n{number}"} for number in range(40)]
    first_id = worker_api.create_ended_response(input=items[:20])["id"]
    response_id = worker_api.create_response(input=items[20:], previous_response_id=first_id)["id"]
    item_ids: list[str] = []
    page_count = 0
    query: dict[str, str] = {}
    while True:
        page = worker_api.list_input_items(response_id, **query).get_json()
        item_ids += [item["id"] for item in page["data"]]
        page_count += 1
        if not page["has_more"]:
            break
        query["after"] = page["last_id"]

    assert [item_id for item_id in item_ids if item_id.startswith("n")] == [f"n{number}" for number in range(40)]
    assert page_count == 2


def test_a_forged_content_reference_in_an_unknown_item_has_no_effect(worker_api: Api, other_key: str) -> None:
    worker_api.create_response(input=image(LARGE_URL), key=other_key)
    (content_id,) = worker_api.sql("select id from contents")[0]
    forged_reference = {"$content": content_id}
    item = {
        "type": "mcp_call",
        "id": "m",
        "output": [{"type": "input_image", "image_url": forged_reference}],
        "content": forged_reference,
    }
    response_id = worker_api.create_response(input=[item])["id"]

    assert worker_api.list_input_items(response_id, **INCLUDE_IMAGES).get_json()["data"] == [item]
    attempt = worker_api.run_response(response_id)
    assert worker_api.core.attempts.contents(attempt) == {}


def test_foreign_content_is_not_found_by_its_hash(worker_api: Api, other_key: str) -> None:
    worker_api.create_response(input=image(LARGE_URL), key=other_key)
    (content_id,) = worker_api.sql("select id from contents")[0]
    response_id = worker_api.create_response(input=image(SMALL_URL))["id"]
    row = jsonio.loads(request_text(worker_api, response_id))
    row["context"][0]["content"][0]["image_url"] = {"$content": content_id}  # no client can create such a row
    worker_api.sql("update responses set request = %s where id = %s", jsonio.dumps(row), response_id)

    attempt = worker_api.run_response(response_id)

    assert worker_api.core.attempts.contents(attempt) == {}


def test_content_is_deleted_with_the_last_response_that_needs_it(worker_api: Api) -> None:
    first_id = worker_api.create_ended_response(input=image(LARGE_URL))["id"]
    second_id = worker_api.create_ended_response(previous_response_id=first_id, input=image(OTHER_URL))["id"]

    worker_api.delete_response(first_id)
    worker_api.core.sweep.run()
    assert list_contents(worker_api) == [LARGE_URL, OTHER_URL]
    assert image_urls(worker_api, second_id, **INCLUDE_IMAGES) == [LARGE_URL, OTHER_URL]

    worker_api.delete_response(second_id)
    worker_api.core.sweep.run()
    assert list_contents(worker_api) == []
    assert worker_api.sql("select count(*) from released_contents") == [(0,)]


def test_contents_of_unstored_responses_are_deleted_with_them(worker_api: Api) -> None:
    response_id = worker_api.create_response(input=image(LARGE_URL))["id"]
    worker_api.run_response(response_id)
    worker_api.sql("update responses set stored = false where id = %s", response_id)
    assert list_contents(worker_api) == [LARGE_URL]

    worker_api.sql("delete from responses where not stored")
    worker_api.core.sweep.run()

    assert list_contents(worker_api) == []


def test_content_that_a_concurrent_request_uses_is_not_deleted(worker_api: Api) -> None:
    worker_api.delete_response(worker_api.create_ended_response(input=image(LARGE_URL))["id"])
    response_id = worker_api.create_response(input="hi")["id"]
    (content_id,) = worker_api.sql("select id from contents")[0]
    with psycopg.connect(worker_api._database_url) as create_connection:
        contents_sql.insert_references(create_connection, _default_project_id(worker_api), response_id, [content_id])
        worker_api.core.sweep.run()
        assert list_contents(worker_api) == [LARGE_URL]
        create_connection.rollback()

    worker_api.core.sweep.run()
    assert list_contents(worker_api) == []


def test_a_request_stores_its_content_again_if_the_sweeper_deletes_it(worker_api: Api) -> None:
    worker_api.delete_response(worker_api.create_ended_response(input=image(LARGE_URL))["id"])
    project_id = _default_project_id(worker_api)
    with psycopg.connect(worker_api._database_url) as sweep_connection:
        contents_sql.delete_released(sweep_connection, 10)
        response_ids: list[str] = []
        thread = threading.Thread(
            target=lambda: response_ids.append(worker_api.create_response(input=image(LARGE_URL))["id"])
        )
        thread.start()
        until(lambda: worker_api.sql("select 1 from pg_stat_activity where wait_event_type = 'Lock'"))
        sweep_connection.commit()
        thread.join()

    assert list_contents(worker_api) == [LARGE_URL]
    assert image_urls(worker_api, response_ids[0], **INCLUDE_IMAGES) == [LARGE_URL]
    assert worker_api.sql("select project_id from contents") == [(project_id,)]


def test_an_insert_outlasts_a_long_transaction_that_inserts_the_same_content(worker_api: Api) -> None:
    project_id = _default_project_id(worker_api)
    with (
        psycopg.connect(worker_api._database_url) as long_connection,
        psycopg.connect(worker_api._database_url, options="-c lock_timeout=100ms", autocommit=True) as connection,
    ):
        contents_sql.insert(long_connection, project_id, {"a": "text", "b": "text"})

        def insert() -> None:
            with connection.transaction():
                contents_sql.insert(connection, project_id, {"b": "text", "c": "text"})

        thread = threading.Thread(target=insert)
        thread.start()
        timeouts = (
            "select 1 from pg_stat_activity where wait_event_type = 'Lock' and xact_start < now() - interval '0.3 s'"
        )
        until(lambda: worker_api.sql(timeouts))
        long_connection.commit()
        thread.join()

    assert worker_api.sql("select id from contents order by id") == [("a",), ("b",), ("c",)]
    worker_api.sql("delete from contents")


def _default_project_id(api: Api) -> str:
    return str(api.sql("select id from projects where name = 'default'")[0][0])


def test_a_context_above_the_input_limit_is_rejected(worker_api: Api) -> None:
    settings = worker_api.core.settings.model_copy(update={"input_limit_bytes": 20_000})
    with open_core(Settings.model_validate(settings), connections=2) as core:
        small_api = Api(core)
        check_error(small_api.post_response(input=image(LARGE_URL) + image(LARGE_URL)), 400, "invalid_value", "input")
        assert list_contents(worker_api) == []
        first_id = small_api.create_response(input=image(LARGE_URL))["id"]
        small_api.run_response(first_id)
        check_error(
            small_api.post_response(input=image(OTHER_URL), previous_response_id=first_id),
            400,
            "invalid_value",
            "input",
        )
        assert small_api.post_response(input="and?", previous_response_id=first_id).status_code == 200


def test_a_repeated_item_with_an_image_is_in_the_context_once(worker_api: Api) -> None:
    (message,) = image(LARGE_URL)
    items = [message | {"id": "m1"}]
    first_id = worker_api.create_ended_response(input=items)["id"]
    second_id = worker_api.create_response(
        previous_response_id=first_id, input=[*items, {"role": "user", "content": "and?"}]
    )["id"]

    assert image_urls(worker_api, second_id, **INCLUDE_IMAGES) == [LARGE_URL]
