"""The slots of create requests that inherit large contexts."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from core import errors
from core.responses.large_contexts import MAX_READERS, MAX_WAITERS, LargeContexts
from tests.harness.waiting import until


def take_slot(contexts: LargeContexts) -> None:
    with contexts.acquire_slot():
        pass


def take_all_slots(contexts: LargeContexts) -> ExitStack:
    """Take all slots; they are released when the stack is closed."""
    slots = ExitStack()
    for _ in range(MAX_READERS):
        slots.enter_context(contexts.acquire_slot())
    return slots


def test_a_request_without_a_slot_in_time_is_rejected() -> None:
    contexts = LargeContexts(timeout_s=0.01)
    slots = take_all_slots(contexts)

    with pytest.raises(errors.ServerBusy):
        take_slot(contexts)

    slots.close()
    take_slot(contexts)


def test_a_failed_request_releases_its_slot() -> None:
    contexts = LargeContexts(timeout_s=0)
    for _ in range(MAX_READERS + 1):
        with pytest.raises(ValueError, match="invalid"), contexts.acquire_slot():
            raise ValueError("invalid")


def test_only_a_limited_number_of_requests_waits_for_a_slot() -> None:
    contexts = LargeContexts(timeout_s=10)
    slots = take_all_slots(contexts)

    with ThreadPoolExecutor(MAX_WAITERS + 1) as threads:
        futures = [threads.submit(take_slot, contexts) for _ in range(MAX_WAITERS + 1)]
        until(lambda: any(future.done() for future in futures))
        (rejected,) = [future for future in futures if future.done()]
        assert isinstance(rejected.exception(), errors.ServerBusy)
        slots.close()

    assert [future.exception() for future in futures if future is not rejected] == [None] * MAX_WAITERS
