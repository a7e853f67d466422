"""The turns of create requests that inherit large contexts."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from core import errors
from core.responses.large_contexts import MAX_TURNS, MAX_WAITERS, LargeContexts
from tests.harness.waiting import until


def take_turn(contexts: LargeContexts) -> None:
    with contexts.turn():
        pass


def take_all_turns(contexts: LargeContexts) -> ExitStack:
    """Take all turns; they are released when the stack is closed."""
    turns = ExitStack()
    for _ in range(MAX_TURNS):
        turns.enter_context(contexts.turn())
    return turns


def test_a_request_without_a_turn_in_time_is_rejected() -> None:
    contexts = LargeContexts(timeout_s=0.01)
    turns = take_all_turns(contexts)

    with pytest.raises(errors.ServerBusy):
        take_turn(contexts)

    turns.close()
    take_turn(contexts)


def test_a_failed_request_releases_its_turn() -> None:
    contexts = LargeContexts(timeout_s=0)
    for _ in range(MAX_TURNS + 1):
        with pytest.raises(ValueError, match="invalid"), contexts.turn():
            raise ValueError("invalid")


def test_only_a_limited_number_of_requests_waits_for_a_turn() -> None:
    contexts = LargeContexts(timeout_s=10)
    turns = take_all_turns(contexts)

    with ThreadPoolExecutor(MAX_WAITERS + 1) as threads:
        futures = [threads.submit(take_turn, contexts) for _ in range(MAX_WAITERS + 1)]
        until(lambda: any(future.done() for future in futures))
        (rejected,) = [future for future in futures if future.done()]
        assert isinstance(rejected.exception(), errors.ServerBusy)
        turns.close()

    assert [future.exception() for future in futures if future is not rejected] == [None] * MAX_WAITERS
