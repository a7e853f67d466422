"""Large parts of requests: stored outside the row, once per project, as long as a response needs them."""

import threading
from typing import Any

import psycopg
import pytest

from core import jsonio
from core.bootstrap import open_core
from core.context import contents_sql as store
from core.context import parts as inputs
from core.settings import Settings
from tests import documents as made
from tests.contract.media import file, image, shown
from tests.harness.waiting import until
from tests.http.http_api import Api, error_of

LARGE = made.data_url("image/png", made.noise(60))
OTHER = made.data_url("image/png", made.noise(61))
SMALL = made.data_url("image/png", made.image())
SHOWN = {"include[]": "message.input_image.image_url"}


def kept(api: Api) -> list[str]:
    return [str(row[0]) for row in api.sql("select data from contents order by created_at")]


@pytest.fixture(autouse=True)
def nothing_kept(running: Api) -> None:
    running.sql("delete from responses")
    running.core.sweep.run()
    assert kept(running) == []


def packed(api: Api, response_id: str) -> str:
    return str(api.sql("select request from responses where id = %s", response_id)[0][0])


def urls(api: Api, response_id: str, **query: Any) -> list[str | None]:
    """The image URLs among a response's input items."""
    items = api.items(response_id, **query).get_json()["data"]
    return [part["image_url"] for item in items for part in inputs.parts(item) if part["type"] == "input_image"]


def test_what_is_large_is_kept_apart_from_the_row_and_what_is_small_in_it(running: Api) -> None:
    large, small = running.created(input=image(LARGE))["id"], running.created(input=image(SMALL))["id"]

    assert kept(running) == [LARGE]
    assert LARGE not in packed(running, large)
    assert len(packed(running, large)) < 2000
    assert SMALL in packed(running, small)


def test_the_same_content_is_kept_once_a_project(running: Api, other: str) -> None:
    for _ in range(3):
        running.created(input=image(LARGE) + image(LARGE))
    running.created(input=image(LARGE), key=other)

    assert kept(running) == [LARGE, LARGE]
    assert len(running.sql("select distinct project_id from contents")) == 2


def test_a_chain_inherits_references_and_no_copies(running: Api) -> None:
    first = running.ended(input=image(LARGE))["id"]
    second = running.ended(previous_response_id=first, input="and?")["id"]
    item = running.items(first).get_json()["data"][0]["id"]
    third = running.created(input=[{"type": "item_reference", "id": item}])["id"]

    assert kept(running) == [LARGE]
    assert running.sql("select count(*) from response_contents") == [(3,)]
    assert urls(running, second, **SHOWN) == urls(running, third, **SHOWN) == [LARGE]


def test_what_a_worker_claims_can_be_put_together_again(running: Api) -> None:
    text = made.data_url("text/plain", b"word " * 2000)
    response_id = running.created(input=image(LARGE) + image(OTHER) + file(text, "a.txt"))["id"]

    attempt = running.run(response_id)
    contents = running.core.attempts.contents(attempt)

    parts = [inputs.filled(part, contents) for item in attempt.context for part in inputs.parts(item)]
    assert [part.get("image_url", part.get("file_data")) for part in parts] == [LARGE, OTHER, text]
    assert LARGE not in jsonio.dumps(attempt.context)


def test_items_list_images_in_data_urls_only_where_they_are_asked_for(running: Api) -> None:
    url = "https://example.com/a.png"
    response_id = running.created(input=shown(*(image(one)[0]["content"][0] for one in (LARGE, SMALL, url))))["id"]

    assert urls(running, response_id) == [None, None, url]
    assert urls(running, response_id, include="computer_call_output.output.image_url") == [None, None, url]
    assert urls(running, response_id, **SHOWN) == [LARGE, SMALL, url]


def test_a_computers_screen_is_listed_only_where_it_is_asked_for(running: Api) -> None:
    screen = {"type": "computer_screenshot", "image_url": SMALL}
    sent = {"type": "computer_call_output", "id": "cuo_1", "call_id": "call_1", "output": screen}
    response_id = running.created(input=[sent])["id"]

    def listed(**query: Any) -> Any:
        return running.items(response_id, **query).get_json()["data"][0]["output"]["image_url"]

    assert listed() is None
    assert listed(**SHOWN) is None
    assert listed(include="computer_call_output.output.image_url") == SMALL


def test_files_are_listed_as_they_were_sent(running: Api) -> None:
    text = made.data_url("text/plain", b"word " * 2000)
    response_id = running.created(input=file(text, "a.txt", detail="low"))["id"]

    (item,) = running.items(response_id).get_json()["data"]
    assert item["content"] == [{"type": "input_file", "file_data": text, "filename": "a.txt", "detail": "low"}]


def test_a_page_of_large_items_is_short_and_the_next_one_goes_on(running: Api) -> None:
    name = made.data_url("text/plain", b"a" * 900_000)
    sent = [{**one, "id": f"n{number}"} for number, one in enumerate(file(name, "a.txt") * 40)]
    first = running.ended(input=sent[:20])["id"]
    response_id = running.created(input=sent[20:], previous_response_id=first)["id"]
    seen: list[str] = []
    pages = 0
    while True:
        page = running.items(response_id, **({"after": seen[-1]} if seen else {})).get_json()
        seen += [item["id"] for item in page["data"]]
        pages += 1
        if not page["has_more"]:
            break

    assert [item for item in seen if item.startswith("n")] == [f"n{number}" for number in range(40)]
    assert pages == 2


def test_a_reference_of_ours_in_an_item_we_do_not_know_means_nothing(running: Api, other: str) -> None:
    running.created(input=image(LARGE), key=other)
    (sha,) = running.sql("select id from contents")[0]
    forged = {"$content": sha}
    item = {"type": "mcp_call", "id": "m", "output": [{"type": "input_image", "image_url": forged}], "content": forged}
    response_id = running.created(input=[item])["id"]

    assert running.items(response_id, **SHOWN).get_json()["data"] == [item]
    attempt = running.run(response_id)
    assert running.core.attempts.contents(attempt) == {}


def test_another_projects_content_is_not_found_by_its_hash(running: Api, other: str) -> None:
    running.created(input=image(LARGE), key=other)
    (sha,) = running.sql("select id from contents")[0]
    mine = running.created(input=image(SMALL))["id"]
    row = jsonio.loads(packed(running, mine))
    row["context"][0]["content"][0]["image_url"] = {"$content": sha}  # no client can create such a row
    running.sql("update responses set request = %s where id = %s", jsonio.dumps(row), mine)

    attempt = running.run(mine)

    assert running.core.attempts.contents(attempt) == {}


def test_a_content_goes_with_the_last_response_that_needs_it(running: Api) -> None:
    first = running.ended(input=image(LARGE))["id"]
    second = running.ended(previous_response_id=first, input=image(OTHER))["id"]

    running.delete(first)
    running.core.sweep.run()
    assert kept(running) == [LARGE, OTHER]
    assert urls(running, second, **SHOWN) == [LARGE, OTHER]

    running.delete(second)
    running.core.sweep.run()
    assert kept(running) == []
    assert running.sql("select count(*) from released_contents") == [(0,)]


def test_contents_of_responses_that_are_not_stored_go_with_them(running: Api) -> None:
    response_id = running.created(input=image(LARGE))["id"]
    running.run(response_id)
    running.sql("update responses set stored = false where id = %s", response_id)
    assert kept(running) == [LARGE]

    running.sql("delete from responses where not stored")
    running.core.sweep.run()

    assert kept(running) == []


def test_what_a_create_is_just_making_use_of_is_not_swept_away(running: Api) -> None:
    running.delete(running.ended(input=image(LARGE))["id"])
    other = running.created(input="hi")["id"]
    (sha,) = running.sql("select id from contents")[0]
    with psycopg.connect(running._url) as creating:
        store.refer(creating, _project(running), other, [sha])
        running.core.sweep.run()
        assert kept(running) == [LARGE]
        creating.rollback()

    running.core.sweep.run()
    assert kept(running) == []


def test_a_create_whose_content_is_swept_away_meanwhile_writes_it_again(running: Api) -> None:
    running.delete(running.ended(input=image(LARGE))["id"])
    project = _project(running)
    with psycopg.connect(running._url) as sweeping:
        store.delete_released(sweeping, 10)
        made_by: list[str] = []
        create = threading.Thread(target=lambda: made_by.append(running.created(input=image(LARGE))["id"]))
        create.start()
        until(lambda: running.sql("select 1 from pg_stat_activity where wait_event_type = 'Lock'"))
        sweeping.commit()
        create.join()

    assert kept(running) == [LARGE]
    assert urls(running, made_by[0], **SHOWN) == [LARGE]
    assert running.sql("select project_id from contents") == [(project,)]


def _project(api: Api) -> str:
    return str(api.sql("select id from projects where name = 'default'")[0][0])


def test_more_than_a_model_can_be_sent_is_refused_also_along_a_chain(running: Api) -> None:
    settings = running.core.settings.model_copy(update={"input_limit_bytes": 20_000})
    with open_core(Settings.model_validate(settings), connections=2) as core:
        narrow = Api(core)
        error_of(narrow.create(input=image(LARGE) + image(LARGE)), 400, "invalid_value", "input")
        assert kept(running) == []
        first = narrow.created(input=image(LARGE))["id"]
        narrow.run(first)
        error_of(narrow.create(input=image(OTHER), previous_response_id=first), 400, "invalid_value", "input")
        assert narrow.create(input="and?", previous_response_id=first).status_code == 200


def test_a_clients_item_that_is_repeated_with_its_image_counts_once(running: Api) -> None:
    sent = [{**image(LARGE)[0], "id": "m1"}]
    first = running.ended(input=sent)["id"]
    second = running.created(previous_response_id=first, input=[*sent, {"role": "user", "content": "and?"}])["id"]

    assert urls(running, second, **SHOWN) == [LARGE]
