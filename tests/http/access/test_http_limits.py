"""Limits of projects as clients see them: granted tier, refusals, and headers."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
import redis
from werkzeug.test import TestResponse

from core.bootstrap import open_core
from core.settings import Settings
from tests.conftest import new_database
from tests.harness.engine import worker
from tests.harness.waiting import until
from tests.http.http_api import Api, error_of

LIMITS = """
[models.scripted]
base_url = "http://127.0.0.1:9/v1"
[models.narrow]
base_url = "http://127.0.0.1:9/v1"
concurrency = 5
[projects.few.limits."*"]
requests_per_minute = 3
[projects.small.limits."*"]
tokens_per_minute = 600
[projects.short.limits."*"]
queued = 2
[projects.dozens.limits."*"]
requests_per_minute = 30
[projects.busy.limits."*"]
queued = 40
[projects.rated.limits."*"]
requests_per_minute = 1000
tokens_per_minute = 100000
queued = 1000
"""
METERS = ("limit", "remaining", "reset")


@pytest.fixture(scope="module")
def _limited(postgres_url: str, template: str, _valkey: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    folder = tmp_path_factory.mktemp("limited")
    (folder / "backburner.toml").write_text(LIMITS)
    settings = Settings(
        home=folder,
        database_url=new_database(postgres_url, template),
        redis_url=_valkey,
        config=folder / "backburner.toml",
        key_cache_s=0,
        worker_seen_s=3600,
    )
    with open_core(settings, connections=8) as core:
        yield Api(core)


@pytest.fixture
def limited(_limited: Api, valkey_url: str) -> Api:
    """The application with limited projects whose credits are unused, and without a worker."""
    assert valkey_url
    _limited.sql("truncate responses, workers, idempotency_keys, usage_ledger cascade")
    return _limited


def key(api: Api, project: str, *rights: str) -> str:
    return api.core.keys.create(rights, project)


def refused(answer: TestResponse, kind: str, code: str = "rate_limit_exceeded") -> str:
    """Assert that a create was refused for the moment and that the reply has Retry-After; return its message."""
    says = error_of(answer, 429, code, kind=kind)
    milliseconds = int(answer.headers["retry-after-ms"])
    assert milliseconds >= 1
    assert int(answer.headers["Retry-After"]) == -(-milliseconds // 1000) >= 1
    assert "x-should-retry" not in answer.headers
    return says


def meters(answer: TestResponse, name: str) -> list[str | None]:
    return [answer.headers.get(f"x-ratelimit-{what}-{name}") for what in METERS]


def credited(api: Api) -> list[tuple[Any, ...]]:
    return api.sql("select tier, reserved_requests, reserved_tokens from responses order by created_at, id")


def test_default_stays_inside_the_limit_and_then_is_refused_with_nothing_stored(limited: Api) -> None:
    few = key(limited, "few")
    for left in ("2", "1", "0"):
        answer = limited.create(key=few, service_tier="default")
        assert answer.get_json()["service_tier"] == "default"
        assert meters(answer, "requests") == ["3", left, {"2": "20s", "1": "40s", "0": "60s"}[left]]
    before = limited.stored()

    answer = limited.create(key=few, service_tier="default")

    assert "the limit is 3" in refused(answer, "requests")
    assert 19 <= int(answer.headers["Retry-After"]) <= 20
    assert meters(answer, "requests")[:2] == ["3", "0"]
    assert meters(answer, "tokens") == [None] * 3
    assert limited.stored() == before


@pytest.mark.parametrize("asked", [None, "auto"])
def test_auto_is_over_limit_while_there_is_capacity_to_spare_and_then_refused(limited: Api, asked: str | None) -> None:
    worker(limited.core, slots=5)
    few = key(limited, "few")
    tiers = [limited.create(key=few, service_tier=asked).get_json()["service_tier"] for _ in range(3)]
    over = limited.create(key=few, service_tier=asked)
    before = limited.stored()

    no_more = limited.create(key=few, service_tier=asked)

    assert tiers == ["default"] * 3
    assert over.get_json()["service_tier"] == "over-limit"
    assert over.headers["x-ratelimit-over-limit"] == "yes"
    assert meters(over, "requests")[:2] == ["3", "0"]
    refused(no_more, "requests")  # 4 of 5 slots are occupied, and the fifth is reserved for requests within their limit
    assert limited.stored() == before
    assert credited(limited) == [("default", 1, 0)] * 3 + [("over-limit", 0, 0)]
    events = limited.sql("select data from response_events where response_id = %s", over.get_json()["id"])
    assert '"service_tier":"over-limit"' in events[0][0].split("\n")[0]


def test_without_a_worker_there_is_nothing_to_spare(limited: Api) -> None:
    few = key(limited, "few")
    for _ in range(3):
        limited.create(key=few)

    refused(limited.create(key=few), "requests")


def test_a_model_that_is_nearly_full_has_nothing_to_spare(limited: Api) -> None:
    worker(limited.core, slots=100)
    few = key(limited, "few")
    for _ in range(4):
        assert limited.create(key=few, model="narrow").status_code == 200

    refused(limited.create(key=few, model="narrow"), "requests")
    assert limited.create(key=few, model="scripted").get_json()["service_tier"] == "default"  # counts separately


def test_flex_takes_no_credits_and_is_refused_only_by_a_full_queue(limited: Api) -> None:
    few, short = key(limited, "few"), key(limited, "short")
    for _ in range(6):
        answer = limited.create(key=few, service_tier="flex")
        assert answer.get_json()["service_tier"] == "flex"
        assert meters(answer, "requests")[:2] == ["3", "3"]
    window = {"background_options": {"completion_window": "2h"}}
    assert limited.create(key=short, **window).get_json()["service_tier"] == "flex"
    assert limited.create(key=short, service_tier="flex").status_code == 200
    before = limited.stored()

    assert "2 responses are waiting" in refused(
        limited.create(key=short, service_tier="flex"), "requests", "resource_unavailable"
    )
    refused(limited.create(key=short, **window), "requests", "resource_unavailable")
    assert limited.stored() == before


def test_a_queue_takes_what_its_limit_says_of_many_creators_at_once_and_takes_more_when_there_is_room(
    limited: Api,
) -> None:
    rated, busy = key(limited, "rated"), key(limited, "busy")
    with ThreadPoolExecutor(8) as threads:
        codes = list(threads.map(lambda _: limited.create(key=busy, service_tier="flex").status_code, range(70)))
    assert sorted(set(codes)) == [200, 429]
    assert codes.count(200) == 40
    ((first,),) = limited.sql("select min(id) from responses")
    limited.cancel(first, key=busy)

    until(lambda: limited.create(key=busy, service_tier="flex").status_code == 200)
    assert limited.create(key=busy, service_tier="flex").status_code == 429
    assert limited.create(key=rated).status_code == 200


def test_of_many_creates_at_once_with_one_key_only_one_takes_credits(limited: Api) -> None:
    dozens = key(limited, "dozens")
    named = {"Idempotency-Key": "a"}
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda _: limited.create(key=dozens, headers=named).get_json()["id"], range(16)))

    assert len(set(made)) == 1
    assert limited.create(key=dozens).headers["x-ratelimit-remaining-requests"] == "28"


def test_a_create_that_postgres_does_not_answer_gives_its_credits_back(limited: Api) -> None:
    few = key(limited, "few")
    assert limited.create(key=few).headers["x-ratelimit-remaining-requests"] == "2"
    assert limited.core.settings.database_url is not None
    with psycopg.connect(limited.core.settings.database_url.get_secret_value()) as connection:
        connection.execute("lock table response_events in exclusive mode")
        assert limited.create(key=few).status_code == 503

    assert limited.create(key=few).headers["x-ratelimit-remaining-requests"] == "1"


def test_what_does_not_wait_is_not_in_the_queue(limited: Api) -> None:
    worker(limited.core, slots=10)
    short = key(limited, "short")

    assert [limited.create(key=short).status_code for _ in range(10)] == [200] * 10
    assert [limited.create(key=short).status_code for _ in range(3)] == [200, 200, 429]


def test_limits_do_not_apply_to_no_limit(limited: Api) -> None:
    privileged = key(limited, "few", "no-limit")
    for tier in ("no-limit", "priority", "fast", "no-limit"):
        answer = limited.create(key=privileged, service_tier=tier)
        assert answer.get_json()["service_tier"] == "no-limit"
        assert not [name for name, _ in answer.headers if name.startswith("x-ratelimit")]
    plain = key(limited, "few")
    assert limited.create(key=plain, service_tier="no-limit").status_code == 403
    assert limited.create(key=plain, service_tier="priority").get_json()["service_tier"] == "default"
    assert credited(limited) == [("no-limit", 0, 0)] * 4 + [("default", 1, 0)]


def test_tokens_are_reserved_by_estimate(limited: Api) -> None:
    small = key(limited, "small")
    answer = limited.create(key=small, input="x" * 400, max_output_tokens=300)
    assert meters(answer, "tokens") == ["600", "200", "40s"]
    assert meters(answer, "requests") == [None] * 3

    answer = limited.create(key=small, input="x" * 400, max_output_tokens=300)

    assert "this request needs 400" in refused(answer, "tokens")
    assert 19 <= int(answer.headers["Retry-After"]) <= 20
    assert limited.create(key=small, input="x" * 400, max_output_tokens=50).status_code == 200


def test_an_answer_of_open_length_is_never_the_reason_why_a_request_does_not_fit(limited: Api) -> None:
    small = key(limited, "small")

    assert limited.create(key=small, input="x" * 400).status_code == 200
    assert credited(limited) == [("default", 1, 600)]


@pytest.mark.parametrize("tier", ["default", "priority"])
def test_what_never_fits_is_refused_for_good(limited: Api, tier: str) -> None:
    before = limited.stored()

    answer = limited.create(key=key(limited, "small"), max_output_tokens=1000, service_tier=tier)

    assert "too large" in error_of(answer, 429, "rate_limit_exceeded", kind="tokens")
    assert answer.headers["x-should-retry"] == "false"
    assert "Retry-After" not in answer.headers
    assert meters(answer, "tokens") == ["600", "600", "0s"]
    assert limited.stored()[:3] == before[:3]


def test_what_never_fits_may_be_over_limit(limited: Api) -> None:
    worker(limited.core, slots=10)

    answer = limited.create(key=key(limited, "small"), max_output_tokens=1000)

    assert answer.get_json()["service_tier"] == "over-limit"


def test_a_project_and_a_model_without_limits_have_no_headers(limited: Api) -> None:
    answer = limited.create()

    assert not [name for name, _ in answer.headers if name.startswith("x-ratelimit")]
    with redis.Redis.from_url(limited.core.settings.redis_url.get_secret_value()) as client:
        assert client.keys("backburner:credits:*") == []


def test_a_repeated_create_takes_nothing_twice_and_is_answered_over_the_limit_too(limited: Api) -> None:
    few = key(limited, "few")
    named = {"Idempotency-Key": "a"}
    first = limited.create(key=few, headers=named).get_json()["id"]
    for _ in range(5):
        assert limited.create(key=few, headers=named).get_json()["id"] == first
    assert limited.create(key=few).headers["x-ratelimit-remaining-requests"] == "1"
    limited.create(key=few)
    assert limited.create(key=few).status_code == 429

    assert limited.create(key=few, headers=named).get_json()["id"] == first


def test_a_create_that_is_refused_after_its_credits_were_taken_gives_them_back(limited: Api) -> None:
    few = key(limited, "few")
    for _ in range(5):
        assert limited.create(key=few, previous_response_id="resp_" + "0" * 48).status_code == 400

    assert limited.create(key=few).headers["x-ratelimit-remaining-requests"] == "2"


def test_a_model_that_a_prompt_brings_counts_against_its_limits(limited: Api) -> None:
    few = key(limited, "few")
    made = limited.ask(
        "POST",
        "/v1/prompts",
        key=few,
        json={"name": "p", "template": {"model": "scripted", "instructions": "Be brief."}},
    )
    prompt = {"model": None, "prompt": {"id": made.get_json()["id"]}}

    answers = [limited.create(key=few, service_tier="default", **prompt) for _ in range(4)]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[0].headers["x-ratelimit-remaining-requests"] == "2"


def test_a_stream_carries_the_headers_too(limited: Api) -> None:
    rated = key(limited, "rated")

    answer = limited.create(key=rated, stream=True)

    assert answer.mimetype == "text/event-stream"
    assert meters(answer, "requests")[:2] == ["1000", "999"]
    answer.close()


def test_a_foreground_answer_carries_the_headers_too(limited: Api) -> None:
    worker(limited.core)
    rated = key(limited, "rated")
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(limited.create, key=rated, background=False)
        ((response_id,),) = until(lambda: limited.sql("select id from responses"))
        limited.run(response_id)
        answer = asked.result()

    assert answer.get_json()["status"] == "completed"
    assert meters(answer, "requests")[:2] == ["1000", "999"]
    assert meters(answer, "tokens")[0] == "100000"


def test_credits_come_back_with_time_as_it_was_told(limited: Api) -> None:
    small = key(limited, "small")
    body = {"input": "x" * 40, "max_output_tokens": 590, "service_tier": "default"}
    assert limited.create(key=small, **body).status_code == 200
    body["max_output_tokens"] = 16
    started = time.monotonic()
    told_s = int(limited.create(key=small, **body).headers["retry-after-ms"]) / 1000

    until(lambda: limited.create(key=small, **body).status_code == 200, within_s=told_s + 1)

    assert told_s - 0.1 <= time.monotonic() - started < told_s + 1
