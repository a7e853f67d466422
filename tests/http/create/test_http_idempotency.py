"""Idempotency-Key: repeated creates make one response."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.http.asking import asking
from tests.http.http_api import GOOD, Api, checked, error_of

KEY = "Idempotency-Key"


def test_a_create_that_is_repeated_answers_with_the_response_it_made(running: Api) -> None:
    first = running.create(headers={KEY: "repeat"}).get_json()
    before = running.stored()

    again = running.create(headers={KEY: "repeat"})
    assert checked(again, "queued") == first
    running.run(first["id"])
    late = running.create(headers={KEY: "repeat"})

    assert checked(late, "completed")["id"] == first["id"]
    assert running.stored()[0] == before[0]


def test_the_order_of_a_bodys_keys_is_not_another_body(running: Api) -> None:
    turned = json.dumps(dict(reversed(GOOD.items())), indent=2).encode()

    first = running.create(headers={KEY: "turned"}).get_json()

    assert running.post(turned, headers={KEY: "turned"}).get_json() == first


@pytest.mark.parametrize(
    "changes", [{"input": "ho"}, {"metadata": {}}, {"background": None}, {"store": True}, {"unheard_of": 1}]
)
def test_a_key_that_is_used_for_another_body_is_refused(running: Api, changes: dict) -> None:
    running.create(headers={KEY: "other body"})
    before = running.stored()

    error_of(running.create(headers={KEY: "other body"}, **changes), 400, "idempotency_key_reuse")

    assert running.stored() == before


def test_the_same_key_in_another_project_is_another_key(running: Api, other: str) -> None:
    first = running.create(headers={KEY: "shared"}).get_json()

    foreign = running.create(headers={KEY: "shared"}, key=other, input="ho")

    assert checked(foreign, "queued")["id"] != first["id"]


@pytest.mark.parametrize("key", ["", " ", "k" * 256, "a\0b", "a\tb", "\x7f"])
def test_a_key_that_is_empty_too_long_or_not_printable_is_refused(running: Api, key: str) -> None:
    before = running.stored()

    says = error_of(running.create(headers={KEY: key}), 400, "invalid_value")

    assert says == "An Idempotency-Key must have 1 to 255 printable characters."
    assert running.stored() == before


@pytest.mark.parametrize("key", ["k" * 255, "é", "' or 1=1 --", "%00", "a b"])
def test_a_key_may_be_any_printable_text(running: Api, key: str) -> None:
    first = running.create(headers={KEY: key}).get_json()

    assert running.create(headers={KEY: key}).get_json()["id"] == first["id"]


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"temperature": 9}, 400),
        ({"previous_response_id": "resp_" + "0" * 48}, 400),
        ({"input": [{"id": "nothing"}]}, 400),
        ({"service_tier": "no-limit"}, 403),
    ],
)
def test_a_create_that_is_refused_does_not_use_up_its_key(running: Api, changes: dict, status: int) -> None:
    before = running.stored()
    key = f"refused {sorted(changes)}"
    assert running.create(headers={KEY: key}, **changes).status_code == status
    assert running.stored() == before

    assert running.create(headers={KEY: key}).status_code == 200


def test_of_many_creates_at_once_with_one_key_one_makes_the_response(running: Api) -> None:
    before = running.stored()[0]
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: running.create(headers={KEY: "race"}), range(24)))

    assert len({checked(answer, "queued")["id"] for answer in answers}) == 1
    assert running.stored()[0] == before + 1


def test_a_foreground_create_that_is_repeated_waits_for_the_same_response(running: Api) -> None:
    with asking(running, headers={KEY: "foreground"}) as (response_id, first), ThreadPoolExecutor(1) as threads:
        ((user,),) = running.sql("select document::json ->> 'user' from responses where id = %s", response_id)
        repeat = {"headers": {KEY: "foreground"}, "background": False, "user": user}
        second = threads.submit(running.create, **repeat)
        running.run(response_id)
        third = running.create(**repeat)

    assert checked(first.result(), "completed") == second.result().get_json() == third.get_json()


def test_a_key_is_forgotten_after_a_day(running: Api) -> None:
    first = running.create(headers={KEY: "old"}).get_json()
    running.sql("update idempotency_keys set created_at = now() - interval '25 hours' where key = 'old'")

    second = running.create(headers={KEY: "old"}, input="ho").get_json()

    assert second["id"] != first["id"]
    assert running.create(headers={KEY: "old"}, input="ho").get_json()["id"] == second["id"]


def test_a_key_whose_response_was_deleted_says_so_rather_than_make_another(running: Api) -> None:
    created = running.create(headers={KEY: "deleted"}).get_json()["id"]
    running.run(created)
    running.delete(created)
    before = running.stored()

    error_of(running.create(headers={KEY: "deleted"}), 404, None, "response_id")

    assert running.stored() == before


def test_a_foreground_create_that_is_not_stored_answers_its_repeats_until_it_is_forgotten(running: Api) -> None:
    with asking(running, store=False, headers={KEY: "forgotten"}) as (response_id, first):
        running.run(response_id)
    checked(first.result(), "completed")
    user = first.result().get_json()["user"]

    repeated = running.create(store=False, background=False, user=user, headers={KEY: "forgotten"})
    running.sql("delete from responses where id = %s", response_id)  # as the sweeper does one minute after the end
    again = running.create(store=False, background=False, user=user, headers={KEY: "forgotten"})

    assert repeated.get_json() == first.result().get_json()
    says = error_of(again, 404, None, "response_id")
    assert says == f"Response with id '{response_id}' was deleted."
