"""Large create requests wait for capacity without delaying small ones."""

import threading
from contextlib import ExitStack

import pytest

from core import errors
from core.responses.large_requests import LARGE_BYTES, TOTAL_BYTES, LargeRequests
from tests.harness.waiting import until

HALF_BYTES = TOTAL_BYTES // 2


def reserve_in_thread(requests: LargeRequests, size_bytes: int, reservations: list[ExitStack]) -> threading.Thread:
    """Reserve capacity in a thread, which appends the reservation to `reservations`; return the thread."""
    thread = threading.Thread(target=lambda: reservations.append(requests.reserve_bytes(size_bytes)), daemon=True)
    thread.start()
    return thread


def test_a_large_request_waits_until_there_is_capacity() -> None:
    requests, reservations = LargeRequests(timeout_s=10), list[ExitStack]()
    first_reservation, second_reservation = requests.reserve_bytes(HALF_BYTES), requests.reserve_bytes(HALF_BYTES)
    thread = reserve_in_thread(requests, HALF_BYTES, reservations)
    until(requests._queue_lock.locked)
    assert reservations == []

    first_reservation.close()

    thread.join(timeout=10)
    assert len(reservations) == 1
    reservations[0].close()
    second_reservation.close()
    with requests.reserve_bytes(TOTAL_BYTES):  # succeeds because all capacity is free again
        pass


def test_a_small_request_needs_no_capacity() -> None:
    requests = LargeRequests(timeout_s=0)

    with requests.reserve_bytes(TOTAL_BYTES), requests.reserve_bytes(LARGE_BYTES - 1):
        pass


def test_a_large_request_without_capacity_in_time_is_rejected_as_busy() -> None:
    requests = LargeRequests(timeout_s=0.01)

    with requests.reserve_bytes(HALF_BYTES + 1), pytest.raises(errors.ServerBusy):
        requests.reserve_bytes(HALF_BYTES)

    requests.reserve_bytes(HALF_BYTES).close()


def test_a_request_above_the_total_size_is_served_alone() -> None:
    requests = LargeRequests(timeout_s=0.01)

    with requests.reserve_bytes(2 * TOTAL_BYTES), pytest.raises(errors.ServerBusy):
        requests.reserve_bytes(LARGE_BYTES)


def test_requests_are_served_in_turn_so_that_the_largest_is_not_overtaken() -> None:
    requests = LargeRequests(timeout_s=10)
    large_reservations, small_reservations = list[ExitStack](), list[ExitStack]()
    reservation = requests.reserve_bytes(HALF_BYTES)
    largest = reserve_in_thread(requests, TOTAL_BYTES, large_reservations)
    until(requests._queue_lock.locked)
    smaller = reserve_in_thread(requests, LARGE_BYTES, small_reservations)

    reservation.close()

    largest.join(timeout=10)
    assert len(large_reservations) == 1
    assert small_reservations == []
    large_reservations[0].close()
    smaller.join(timeout=10)
    assert len(small_reservations) == 1


def test_closing_a_reservation_twice_frees_its_capacity_once() -> None:
    requests = LargeRequests(timeout_s=0.01)
    reservation, other_reservation = requests.reserve_bytes(HALF_BYTES), requests.reserve_bytes(HALF_BYTES)

    reservation.close()
    reservation.close()

    requests.reserve_bytes(HALF_BYTES)
    with pytest.raises(errors.ServerBusy):
        requests.reserve_bytes(LARGE_BYTES)
    other_reservation.close()


def test_a_failed_block_releases_the_capacity() -> None:
    requests = LargeRequests(timeout_s=0.01)

    with pytest.raises(ValueError, match="invalid"), requests.reserve_bytes(TOTAL_BYTES):
        raise ValueError("invalid")

    requests.reserve_bytes(TOTAL_BYTES).close()
