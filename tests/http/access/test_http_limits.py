"""The effects of a project's limits that clients observe: the assigned tier, rejections, and headers."""

import math
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
from tests.harness.engine import register_worker
from tests.harness.waiting import until
from tests.http.http_api import Api, check_error

CONFIGURATION = """
[models.scripted]
base_url = "http://127.0.0.1:9/v1"
[models.narrow]
base_url = "http://127.0.0.1:9/v1"
concurrency = 5
[projects.few-requests.limits."*"]
requests_per_minute = 3
[projects.few-tokens.limits."*"]
tokens_per_minute = 600
[projects.short-queue.limits."*"]
queued = 2
[projects.many-requests.limits."*"]
requests_per_minute = 30
[projects.long-queue.limits."*"]
queued = 40
[projects.all-limits.limits."*"]
requests_per_minute = 1000
tokens_per_minute = 100000
queued = 1000
"""
HEADER_SUFFIXES = ("limit", "remaining", "reset")


@pytest.fixture(scope="module")
def _limited_application(
    postgres_url: str, template: str, _valkey: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Api]:
    folder = tmp_path_factory.mktemp("limited")
    (folder / "backburner.toml").write_text(CONFIGURATION)
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
def limited_api(_limited_application: Api, valkey_url: str) -> Api:
    """A client of the application with limited projects, which have all of their credits, and without a worker."""
    assert valkey_url  # this fixture has deleted the token buckets of earlier tests
    _limited_application.sql("truncate responses, workers, idempotency_keys, usage_ledger cascade")
    return _limited_application


def create_key(api: Api, project: str, *rights: str) -> str:
    return api.core.keys.create(rights, project)


def check_rejection(answer: TestResponse, error_type: str, code: str = "rate_limit_exceeded") -> str:
    """Assert that an answer rejects a request temporarily, with Retry-After; return its message."""
    message = check_error(answer, 429, code, error_type=error_type)
    milliseconds = int(answer.headers["retry-after-ms"])
    assert milliseconds >= 1
    assert int(answer.headers["Retry-After"]) == math.ceil(milliseconds / 1000)
    assert "x-should-retry" not in answer.headers
    return message


def rate_limit_headers(answer: TestResponse, name: str) -> list[str | None]:
    """The limit, the remaining credits and the time until the reset, for `requests` or `tokens`."""
    return [answer.headers.get(f"x-ratelimit-{suffix}-{name}") for suffix in HEADER_SUFFIXES]


def list_reservations(api: Api) -> list[tuple[Any, ...]]:
    """The tier, the reserved requests and the reserved tokens of every response, oldest first."""
    return api.sql("select tier, reserved_requests, reserved_tokens from responses order by created_at, id")


def test_a_default_request_over_the_limit_is_rejected_and_stores_nothing(limited_api: Api) -> None:
    few_requests_key = create_key(limited_api, "few-requests")
    for remaining, reset in (("2", "20s"), ("1", "40s"), ("0", "60s")):
        answer = limited_api.post_response(key=few_requests_key, service_tier="default")
        assert answer.get_json()["service_tier"] == "default"
        assert rate_limit_headers(answer, "requests") == ["3", remaining, reset]
    row_counts = limited_api.count_rows()

    answer = limited_api.post_response(key=few_requests_key, service_tier="default")

    assert "the limit is 3" in check_rejection(answer, "requests")
    assert 19 <= int(answer.headers["Retry-After"]) <= 20
    assert rate_limit_headers(answer, "requests")[:2] == ["3", "0"]
    assert rate_limit_headers(answer, "tokens") == [None] * 3
    assert limited_api.count_rows() == row_counts


@pytest.mark.parametrize("tier", [None, "auto"])
def test_an_auto_request_is_over_limit_while_there_is_spare_capacity(limited_api: Api, tier: str | None) -> None:
    register_worker(limited_api.core, slots=5)
    few_requests_key = create_key(limited_api, "few-requests")
    tiers = [
        limited_api.post_response(key=few_requests_key, service_tier=tier).get_json()["service_tier"] for _ in range(3)
    ]
    over_limit_answer = limited_api.post_response(key=few_requests_key, service_tier=tier)
    row_counts = limited_api.count_rows()

    rejected_answer = limited_api.post_response(key=few_requests_key, service_tier=tier)

    assert tiers == ["default"] * 3
    assert over_limit_answer.get_json()["service_tier"] == "over-limit"
    assert over_limit_answer.headers["x-ratelimit-over-limit"] == "yes"
    assert rate_limit_headers(over_limit_answer, "requests")[:2] == ["3", "0"]
    # Four of five slots are occupied, and the fifth is reserved for requests within their limit.
    check_rejection(rejected_answer, "requests")
    assert limited_api.count_rows() == row_counts
    assert list_reservations(limited_api) == [("default", 1, 0)] * 3 + [("over-limit", 0, 0)]
    events = limited_api.sql(
        "select data from response_events where response_id = %s", over_limit_answer.get_json()["id"]
    )
    assert '"service_tier":"over-limit"' in events[0][0].split("\n")[0]


def test_there_is_no_spare_capacity_without_a_worker(limited_api: Api) -> None:
    few_requests_key = create_key(limited_api, "few-requests")
    for _ in range(3):
        limited_api.post_response(key=few_requests_key)

    check_rejection(limited_api.post_response(key=few_requests_key), "requests")


def test_a_nearly_full_model_has_no_spare_capacity(limited_api: Api) -> None:
    register_worker(limited_api.core, slots=100)
    few_requests_key = create_key(limited_api, "few-requests")
    for _ in range(4):
        assert limited_api.post_response(key=few_requests_key, model="narrow").status_code == 200

    check_rejection(limited_api.post_response(key=few_requests_key, model="narrow"), "requests")
    answer = limited_api.post_response(key=few_requests_key, model="scripted")  # has a separate limit
    assert answer.get_json()["service_tier"] == "default"


def test_a_flex_request_takes_no_credits_and_is_rejected_only_by_a_full_queue(limited_api: Api) -> None:
    few_requests_key, short_queue_key = create_key(limited_api, "few-requests"), create_key(limited_api, "short-queue")
    for _ in range(6):
        answer = limited_api.post_response(key=few_requests_key, service_tier="flex")
        assert answer.get_json()["service_tier"] == "flex"
        assert rate_limit_headers(answer, "requests")[:2] == ["3", "3"]
    window = {"background_options": {"completion_window": "2h"}}
    assert limited_api.post_response(key=short_queue_key, **window).get_json()["service_tier"] == "flex"
    assert limited_api.post_response(key=short_queue_key, service_tier="flex").status_code == 200
    row_counts = limited_api.count_rows()

    assert "2 responses are waiting" in check_rejection(
        limited_api.post_response(key=short_queue_key, service_tier="flex"), "requests", "resource_unavailable"
    )
    check_rejection(limited_api.post_response(key=short_queue_key, **window), "requests", "resource_unavailable")
    assert limited_api.count_rows() == row_counts


def test_a_queue_limit_is_exact_for_concurrent_requests_and_applies_until_a_cancellation(
    limited_api: Api,
) -> None:
    all_limits_key, long_queue_key = create_key(limited_api, "all-limits"), create_key(limited_api, "long-queue")
    with ThreadPoolExecutor(8) as threads:
        statuses = list(
            threads.map(
                lambda _: limited_api.post_response(key=long_queue_key, service_tier="flex").status_code, range(70)
            )
        )
    assert sorted(set(statuses)) == [200, 429]
    assert statuses.count(200) == 40
    ((first_id,),) = limited_api.sql("select min(id) from responses")
    limited_api.cancel_response(first_id, key=long_queue_key)

    until(lambda: limited_api.post_response(key=long_queue_key, service_tier="flex").status_code == 200)
    assert limited_api.post_response(key=long_queue_key, service_tier="flex").status_code == 429
    assert limited_api.post_response(key=all_limits_key).status_code == 200


def test_concurrent_requests_with_one_idempotency_key_take_credits_once(limited_api: Api) -> None:
    many_requests_key = create_key(limited_api, "many-requests")
    headers = {"Idempotency-Key": "a"}
    with ThreadPoolExecutor(8) as threads:
        response_ids = list(
            threads.map(
                lambda _: limited_api.post_response(key=many_requests_key, headers=headers).get_json()["id"], range(16)
            )
        )

    assert len(set(response_ids)) == 1
    assert limited_api.post_response(key=many_requests_key).headers["x-ratelimit-remaining-requests"] == "28"


def test_a_request_returns_its_credits_if_postgres_does_not_answer(limited_api: Api) -> None:
    few_requests_key = create_key(limited_api, "few-requests")
    assert limited_api.post_response(key=few_requests_key).headers["x-ratelimit-remaining-requests"] == "2"
    assert limited_api.core.settings.database_url is not None
    with psycopg.connect(limited_api.core.settings.database_url.get_secret_value()) as connection:
        connection.execute("lock table response_events in exclusive mode")
        assert limited_api.post_response(key=few_requests_key).status_code == 503

    assert limited_api.post_response(key=few_requests_key).headers["x-ratelimit-remaining-requests"] == "1"


def test_a_dispatched_response_is_not_counted_in_the_queue(limited_api: Api) -> None:
    register_worker(limited_api.core, slots=10)
    short_queue_key = create_key(limited_api, "short-queue")

    assert [limited_api.post_response(key=short_queue_key).status_code for _ in range(10)] == [200] * 10
    assert [limited_api.post_response(key=short_queue_key).status_code for _ in range(3)] == [200, 200, 429]


def test_limits_do_not_apply_to_the_tier_no_limit(limited_api: Api) -> None:
    privileged_key = create_key(limited_api, "few-requests", "no-limit")
    for tier in ("no-limit", "priority", "fast", "no-limit"):
        answer = limited_api.post_response(key=privileged_key, service_tier=tier)
        assert answer.get_json()["service_tier"] == "no-limit"
        assert not [name for name, _ in answer.headers if name.startswith("x-ratelimit")]
    plain_key = create_key(limited_api, "few-requests")
    assert limited_api.post_response(key=plain_key, service_tier="no-limit").status_code == 403
    assert limited_api.post_response(key=plain_key, service_tier="priority").get_json()["service_tier"] == "default"
    assert list_reservations(limited_api) == [("no-limit", 0, 0)] * 4 + [("default", 1, 0)]


def test_the_estimated_tokens_of_a_request_are_reserved(limited_api: Api) -> None:
    few_tokens_key = create_key(limited_api, "few-tokens")
    answer = limited_api.post_response(key=few_tokens_key, input="x" * 400, max_output_tokens=300)
    assert rate_limit_headers(answer, "tokens") == ["600", "200", "40s"]
    assert rate_limit_headers(answer, "requests") == [None] * 3

    answer = limited_api.post_response(key=few_tokens_key, input="x" * 400, max_output_tokens=300)

    assert "this request needs 400" in check_rejection(answer, "tokens")
    assert 19 <= int(answer.headers["Retry-After"]) <= 20
    assert limited_api.post_response(key=few_tokens_key, input="x" * 400, max_output_tokens=50).status_code == 200


def test_a_request_without_max_output_tokens_reserves_at_most_the_limit(limited_api: Api) -> None:
    few_tokens_key = create_key(limited_api, "few-tokens")

    assert limited_api.post_response(key=few_tokens_key, input="x" * 400).status_code == 200
    assert list_reservations(limited_api) == [("default", 1, 600)]


@pytest.mark.parametrize("tier", ["default", "priority"])
def test_a_request_above_the_total_limit_is_rejected_permanently(limited_api: Api, tier: str) -> None:
    few_tokens_key = create_key(limited_api, "few-tokens")
    row_counts = limited_api.count_rows()

    answer = limited_api.post_response(key=few_tokens_key, max_output_tokens=1000, service_tier=tier)

    assert "too large" in check_error(answer, 429, "rate_limit_exceeded", error_type="tokens")
    assert answer.headers["x-should-retry"] == "false"
    assert "Retry-After" not in answer.headers
    assert rate_limit_headers(answer, "tokens") == ["600", "600", "0s"]
    assert limited_api.count_rows() == row_counts


def test_a_request_above_the_total_limit_may_be_over_limit(limited_api: Api) -> None:
    register_worker(limited_api.core, slots=10)

    answer = limited_api.post_response(key=create_key(limited_api, "few-tokens"), max_output_tokens=1000)

    assert answer.get_json()["service_tier"] == "over-limit"


def test_a_project_and_a_model_without_limits_have_no_headers(limited_api: Api) -> None:
    answer = limited_api.post_response()

    assert not [name for name, _ in answer.headers if name.startswith("x-ratelimit")]
    with redis.Redis.from_url(limited_api.core.settings.redis_url.get_secret_value()) as client:
        assert client.keys("backburner:credits:*") == []


def test_a_repeated_request_takes_no_credits_and_is_accepted_over_the_limit(limited_api: Api) -> None:
    few_requests_key = create_key(limited_api, "few-requests")
    headers = {"Idempotency-Key": "a"}
    first_id = limited_api.post_response(key=few_requests_key, headers=headers).get_json()["id"]
    for _ in range(5):
        assert limited_api.post_response(key=few_requests_key, headers=headers).get_json()["id"] == first_id
    assert limited_api.post_response(key=few_requests_key).headers["x-ratelimit-remaining-requests"] == "1"
    limited_api.post_response(key=few_requests_key)
    assert limited_api.post_response(key=few_requests_key).status_code == 429

    assert limited_api.post_response(key=few_requests_key, headers=headers).get_json()["id"] == first_id


def test_an_invalid_request_returns_its_credits(limited_api: Api) -> None:
    few_requests_key = create_key(limited_api, "few-requests")
    for _ in range(5):
        assert (
            limited_api.post_response(key=few_requests_key, previous_response_id="resp_" + "0" * 48).status_code == 400
        )

    assert limited_api.post_response(key=few_requests_key).headers["x-ratelimit-remaining-requests"] == "2"


def test_the_limit_of_a_model_applies_if_a_prompt_provides_the_model(limited_api: Api) -> None:
    few_requests_key = create_key(limited_api, "few-requests")
    prompt_answer = limited_api.send_request(
        "POST",
        "/v1/prompts",
        key=few_requests_key,
        json={"name": "p", "template": {"model": "scripted", "instructions": "Be brief."}},
    )
    prompt = {"model": None, "prompt": {"id": prompt_answer.get_json()["id"]}}

    answers = [limited_api.post_response(key=few_requests_key, service_tier="default", **prompt) for _ in range(4)]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[0].headers["x-ratelimit-remaining-requests"] == "2"


def test_a_stream_has_the_headers_of_the_limits(limited_api: Api) -> None:
    all_limits_key = create_key(limited_api, "all-limits")

    answer = limited_api.post_response(key=all_limits_key, stream=True)

    assert answer.mimetype == "text/event-stream"
    assert rate_limit_headers(answer, "requests")[:2] == ["1000", "999"]
    answer.close()


def test_a_foreground_answer_has_the_headers_of_the_limits(limited_api: Api) -> None:
    register_worker(limited_api.core)
    all_limits_key = create_key(limited_api, "all-limits")
    with ThreadPoolExecutor(1) as threads:
        future = threads.submit(limited_api.post_response, key=all_limits_key, background=False)
        ((response_id,),) = until(lambda: limited_api.sql("select id from responses"))
        limited_api.run_response(response_id)
        answer = future.result()

    assert answer.get_json()["status"] == "completed"
    assert rate_limit_headers(answer, "requests")[:2] == ["1000", "999"]
    assert rate_limit_headers(answer, "tokens")[0] == "100000"


def test_a_request_is_accepted_after_the_announced_delay(limited_api: Api) -> None:
    few_tokens_key = create_key(limited_api, "few-tokens")
    body = {"input": "x" * 40, "max_output_tokens": 590, "service_tier": "default"}
    assert limited_api.post_response(key=few_tokens_key, **body).status_code == 200
    body["max_output_tokens"] = 16
    started_at = time.monotonic()
    retry_after_s = int(limited_api.post_response(key=few_tokens_key, **body).headers["retry-after-ms"]) / 1000

    until(lambda: limited_api.post_response(key=few_tokens_key, **body).status_code == 200, timeout_s=retry_after_s + 1)

    assert retry_after_s - 0.1 <= time.monotonic() - started_at < retry_after_s + 1
