"""Endpoints: which server is tried next, which one is avoided, and for how long."""

import time
from contextlib import ExitStack

import pytest

from core import errors
from tests.harness.waiting import until
from worker.models.endpoints import ENOUGH, Endpoint, Endpoints, retry_after_s

GONE = errors.Unreachable("The model server cannot be reached: no.")
FULL = errors.Unavailable("The model server answered 503: full")


def urls(number: int) -> list[str]:
    return [f"http://h{n}/v1" for n in range(number)]


def fail(endpoint: Endpoint, error: errors.ModelServerFailed = GONE, response_id: str = "resp_1") -> None:
    with endpoint.request(response_id) as request:
        request.fail(error)


def chosen(endpoints: Endpoints, **options: bool) -> Endpoint | None:
    return endpoints.choose({}, **options)


def all_of(endpoints: Endpoints) -> list[Endpoint]:
    """All endpoints, found by sending a request to each of them at the same time."""
    with ExitStack() as asked:
        found = []
        while (one := chosen(endpoints)) not in found:
            assert one is not None
            asked.enter_context(one.request("resp_1"))
            found.append(one)
    return found


def test_requests_go_to_whoever_has_least_under_way() -> None:
    endpoints = Endpoints(urls(3))
    with ExitStack() as asked:
        for _ in range(9):
            one = chosen(endpoints)
            assert one is not None
            asked.enter_context(one.request("resp_1"))

        assert [one.under_way for one in all_of(endpoints)] == [3, 3, 3]


def test_one_that_cannot_be_reached_is_left_alone_and_then_tried_by_one_request_first() -> None:
    endpoints = Endpoints(urls(2))
    first, second = all_of(endpoints)
    fail(first)

    assert {chosen(endpoints) for _ in range(10)} == {second}
    until(lambda: chosen(endpoints) is first, within_s=1)
    with first.request("resp_2"):
        assert {chosen(endpoints) for _ in range(10)} == {second}


def test_each_failure_in_a_row_doubles_the_time_and_an_answer_ends_it() -> None:
    endpoint = Endpoint("http://h/v1")
    for least_s, most_s in ((0.12, 0.25), (0.24, 0.5), (0.49, 1)):
        fail(endpoint)
        asked_at = time.monotonic()
        opens_at = endpoint.opens_at(asked_at, alone=False)
        assert least_s < opens_at - asked_at <= most_s
        until(lambda opens_at=opens_at: time.monotonic() >= opens_at)

    with endpoint.request("resp_1") as request:
        request.take()
        assert not endpoint.down
        assert endpoint.rank(time.monotonic()) == 1


def test_what_fails_while_an_endpoint_is_left_alone_does_not_lengthen_that() -> None:
    endpoint = Endpoint("http://h/v1")
    for _ in range(100):
        fail(endpoint)

    assert endpoint.opens_at(time.monotonic(), alone=False) - time.monotonic() <= 0.25


def test_one_that_refuses_the_same_response_again_and_again_is_still_asked_by_others() -> None:
    endpoints = Endpoints(urls(1))
    (only,) = all_of(endpoints)
    for _ in range(10):
        fail(only, FULL, "resp_poison")

    assert chosen(endpoints) is only
    assert not only.down


def test_one_that_refuses_several_responses_in_a_row_is_down() -> None:
    endpoints = Endpoints(urls(1))
    (only,) = all_of(endpoints)
    began_at = time.monotonic()
    for number in range(ENOUGH):
        assert not only.down
        fail(only, FULL, f"resp_{number}")

    assert only.down
    assert chosen(endpoints) is None
    assert endpoints.down_since(began_at)
    assert not endpoints.down_since(time.monotonic())
    assert chosen(endpoints, all_open=True) is only


def test_one_that_is_full_but_answers_others_is_not_down() -> None:
    endpoints = Endpoints(urls(1))
    (only,) = all_of(endpoints)
    with only.request("resp_served") as served:
        served.take()
        for number in range(10):
            fail(only, FULL, f"resp_{number}")
        assert not only.down

    assert not only.down  # the request that was served freed capacity


@pytest.mark.parametrize("error", [errors.Erred("It broke."), errors.Silent("It says nothing.")])
def test_errors_that_may_be_a_requests_own_fault_only_make_others_be_preferred(
    error: errors.ModelServerFailed,
) -> None:
    endpoints = Endpoints(urls(2))
    first, second = all_of(endpoints)
    for number in range(10):
        fail(first, error, f"resp_{number}")

    assert {chosen(endpoints) for _ in range(10)} == {second}
    assert not first.down
    assert endpoints.choose({second: time.monotonic() + 60}) is first


def test_one_that_is_down_waits_as_long_as_it_asked() -> None:
    endpoints = Endpoints(urls(1))
    (only,) = all_of(endpoints)
    for number in range(ENOUGH):
        fail(only, errors.Unavailable("429", retry_after_s=60), f"resp_{number}")

    assert 59 < endpoints.opens_at({}) - time.monotonic() <= 60
    assert 59 < endpoints.asked_s({}) <= 60


def test_what_one_of_several_asks_for_binds_only_itself() -> None:
    endpoints = Endpoints(urls(2))
    first, second = all_of(endpoints)
    fail(first, errors.Unavailable("429", retry_after_s=60))
    fail(second)

    assert endpoints.asked_s({first: time.monotonic() + 60}) == 0
    until(lambda: chosen(endpoints) is second, within_s=1)


def test_nobody_is_left_alone_for_longer_than_reason_allows() -> None:
    assert retry_after_s(errors.Unavailable("429", retry_after_s=1e9)) == 300
    assert retry_after_s(errors.Erred("500")) == 0


def test_the_last_error_is_the_one_that_is_told_and_no_password_is_in_a_name() -> None:
    endpoints = Endpoints(["http://me:hush@h/v1"])
    (only,) = all_of(endpoints)
    fail(only, FULL)
    fail(only)

    assert endpoints.error is GONE
    assert only.name == "h/v1"
