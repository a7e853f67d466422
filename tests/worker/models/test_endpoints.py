"""The choice of the endpoint for the next request, and the backoff after failures of an endpoint."""

import time
from contextlib import ExitStack

import pytest

from core import errors
from tests.harness.waiting import until
from worker.models.endpoints import DOWN_THRESHOLD, Endpoint, Endpoints, retry_after_s

UNREACHABLE = errors.ModelServerUnreachable("The model server cannot be reached: no.")
UNAVAILABLE = errors.ModelServerUnavailable("The model server answered 503: full")


def base_urls(count: int) -> list[str]:
    return [f"http://h{index}/v1" for index in range(count)]


def fail_request(endpoint: Endpoint, error: errors.ModelServerError = UNREACHABLE, response_id: str = "resp_1") -> None:
    with endpoint.request(response_id) as request:
        request.record_failure(error)


def choose_endpoint(endpoints: Endpoints, **options: bool) -> Endpoint | None:
    return endpoints.choose_endpoint({}, **options)


def list_endpoints(endpoints: Endpoints) -> list[Endpoint]:
    """Return all endpoints, in the order in which they are chosen while each chosen endpoint has a request."""
    with ExitStack() as active_requests:
        chosen_endpoints = []
        while (endpoint := choose_endpoint(endpoints)) not in chosen_endpoints:
            assert endpoint is not None
            active_requests.enter_context(endpoint.request("resp_1"))
            chosen_endpoints.append(endpoint)
    return chosen_endpoints


def test_requests_go_to_the_endpoint_with_the_fewest_active_requests() -> None:
    endpoints = Endpoints(base_urls(3))
    with ExitStack() as active_requests:
        for _ in range(9):
            endpoint = choose_endpoint(endpoints)
            assert endpoint is not None
            active_requests.enter_context(endpoint.request("resp_1"))

        assert [endpoint.active_requests for endpoint in list_endpoints(endpoints)] == [3, 3, 3]


def test_an_unreachable_endpoint_is_avoided_and_then_probed_by_one_request() -> None:
    endpoints = Endpoints(base_urls(2))
    first, second = list_endpoints(endpoints)
    fail_request(first)

    assert {choose_endpoint(endpoints) for _ in range(10)} == {second}
    until(lambda: choose_endpoint(endpoints) is first, timeout_s=1)
    with first.request("resp_2"):
        assert {choose_endpoint(endpoints) for _ in range(10)} == {second}


def test_each_consecutive_failure_doubles_the_backoff_and_an_accepted_request_ends_it() -> None:
    endpoint = Endpoint("http://h/v1")
    for min_s, max_s in ((0.12, 0.25), (0.24, 0.5), (0.49, 1)):
        fail_request(endpoint)
        now = time.monotonic()
        available_at = endpoint.available_at(now, are_others_down=False)
        assert min_s < available_at - now <= max_s
        until(lambda available_at=available_at: time.monotonic() >= available_at)

    with endpoint.request("resp_1") as request:
        request.record_acceptance()
        assert not endpoint.is_down
        assert endpoint.rank(time.monotonic()) == 1


def test_failures_during_a_backoff_do_not_extend_it() -> None:
    endpoint = Endpoint("http://h/v1")
    for _ in range(100):
        fail_request(endpoint)

    assert endpoint.available_at(time.monotonic(), are_others_down=False) - time.monotonic() <= 0.25


def test_repeated_refusals_of_the_same_response_do_not_affect_other_responses() -> None:
    endpoints = Endpoints(base_urls(1))
    (endpoint,) = list_endpoints(endpoints)
    for _ in range(10):
        fail_request(endpoint, UNAVAILABLE, "resp_refused")

    assert choose_endpoint(endpoints) is endpoint
    assert not endpoint.is_down


def test_an_endpoint_that_refuses_several_responses_in_a_row_is_down() -> None:
    endpoints = Endpoints(base_urls(1))
    (endpoint,) = list_endpoints(endpoints)
    started_at = time.monotonic()
    for number in range(DOWN_THRESHOLD):
        assert not endpoint.is_down
        fail_request(endpoint, UNAVAILABLE, f"resp_{number}")

    assert endpoint.is_down
    assert choose_endpoint(endpoints) is None
    assert endpoints.is_down_since(started_at)
    assert not endpoints.is_down_since(time.monotonic())
    assert choose_endpoint(endpoints, include_all=True) is endpoint


def test_a_full_endpoint_that_answers_another_request_is_not_down() -> None:
    endpoints = Endpoints(base_urls(1))
    (endpoint,) = list_endpoints(endpoints)
    with endpoint.request("resp_served") as request:
        request.record_acceptance()
        for number in range(10):
            fail_request(endpoint, UNAVAILABLE, f"resp_{number}")
        assert not endpoint.is_down

    assert not endpoint.is_down  # the end of the request has freed capacity


@pytest.mark.parametrize("error", [errors.TransientError("It broke."), errors.AnswerTimeout("It sent nothing.")])
def test_errors_that_the_request_may_cause_only_lower_the_rank_of_the_endpoint(
    error: errors.ModelServerError,
) -> None:
    endpoints = Endpoints(base_urls(2))
    first, second = list_endpoints(endpoints)
    for number in range(10):
        fail_request(first, error, f"resp_{number}")

    assert {choose_endpoint(endpoints) for _ in range(10)} == {second}
    assert not first.is_down
    assert endpoints.choose_endpoint({second: time.monotonic() + 60}) is first


def test_an_endpoint_that_is_down_is_avoided_for_the_time_that_it_requested() -> None:
    endpoints = Endpoints(base_urls(1))
    (endpoint,) = list_endpoints(endpoints)
    for number in range(DOWN_THRESHOLD):
        fail_request(endpoint, errors.ModelServerUnavailable("429", retry_after_s=60), f"resp_{number}")

    assert 59 < endpoints.available_at({}) - time.monotonic() <= 60
    assert 59 < endpoints.requested_backoff_s({}) <= 60


def test_a_requested_backoff_applies_only_to_the_endpoint_that_sent_it() -> None:
    endpoints = Endpoints(base_urls(2))
    first, second = list_endpoints(endpoints)
    fail_request(first, errors.ModelServerUnavailable("429", retry_after_s=60))
    fail_request(second)

    assert endpoints.requested_backoff_s({first: time.monotonic() + 60}) == 0
    until(lambda: choose_endpoint(endpoints) is second, timeout_s=1)


def test_a_requested_backoff_is_limited() -> None:
    assert retry_after_s(errors.ModelServerUnavailable("429", retry_after_s=1e9)) == 300
    assert retry_after_s(errors.TransientError("500")) == 0


def test_the_last_error_is_reported_and_a_name_contains_no_password() -> None:
    endpoints = Endpoints(["http://me:hush@h/v1"])
    (endpoint,) = list_endpoints(endpoints)
    fail_request(endpoint, UNAVAILABLE)
    fail_request(endpoint)

    assert endpoints.error is UNREACHABLE
    assert endpoint.name == "h/v1"
