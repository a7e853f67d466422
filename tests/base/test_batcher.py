"""Concurrent calls run as one batch, and each caller gets the outcome of its own item."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from core.batcher import Batcher
from tests.harness.waiting import until


class DoublingWork:
    """Doubles numbers; raises for zero, returns an error for a negative number, and waits until `may_run` is set."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.may_run = threading.Event()
        self.may_run.set()

    def __call__(self, items: Sequence[int]) -> list[int | Exception]:
        self.batches.append(list(items))
        assert self.may_run.wait(10)
        if 0 in items:
            raise ZeroDivisionError
        return [2 * item if item > 0 else ValueError(item) for item in items]


def count_waiting(batcher: Batcher) -> int:
    """Return the number of items in the next batch."""
    batch = batcher._next_batch
    return 0 if batch is None else len(batch.items)


def test_calls_during_a_batch_form_the_next_batch() -> None:
    work = DoublingWork()
    batcher = Batcher(work, max_items=100, turn_timeout_s=10)
    work.may_run.clear()
    with ThreadPoolExecutor(20) as threads:
        first_call = threads.submit(batcher.process, 1)
        until(lambda: work.batches)
        later_calls = [threads.submit(batcher.process, n) for n in range(2, 21)]
        until(lambda: count_waiting(batcher) == 19)
        work.may_run.set()

        assert first_call.result() == 2
        assert [call.result() for call in later_calls] == [2 * n for n in range(2, 21)]
    assert work.batches[0] == [1]
    assert sorted(work.batches[1]) == list(range(2, 21))
    assert len(work.batches) == 2


def test_a_batch_has_at_most_the_maximum_number_of_items() -> None:
    work = DoublingWork()
    batcher = Batcher(work, max_items=3, turn_timeout_s=10)
    work.may_run.clear()
    with ThreadPoolExecutor(20) as threads:
        calls = [threads.submit(batcher.process, n) for n in range(1, 21)]
        until(lambda: count_waiting(batcher) == 1)
        work.may_run.set()

        assert [call.result() for call in calls] == [2 * n for n in range(1, 21)]
    assert max(map(len, work.batches)) == 3
    assert sorted(item for batch in work.batches for item in batch) == list(range(1, 21))


def test_the_error_of_an_item_is_raised_only_in_its_caller() -> None:
    work = DoublingWork()
    batcher = Batcher(work, max_items=100, turn_timeout_s=10)
    work.may_run.clear()
    with ThreadPoolExecutor(3) as threads:
        first_call = threads.submit(batcher.process, 1)
        until(lambda: work.batches)
        failing_call, other_call = threads.submit(batcher.process, -1), threads.submit(batcher.process, 2)
        until(lambda: count_waiting(batcher) == 2)
        work.may_run.set()

        assert (first_call.result(), other_call.result()) == (2, 4)
        with pytest.raises(ValueError, match="-1"):
            failing_call.result()


def test_an_error_of_the_work_is_raised_in_every_caller_and_later_calls_succeed() -> None:
    work = DoublingWork()
    batcher = Batcher(work, max_items=100, turn_timeout_s=10)
    work.may_run.clear()
    with ThreadPoolExecutor(3) as threads:
        first_call = threads.submit(batcher.process, 1)
        until(lambda: work.batches)
        failing_calls = [threads.submit(batcher.process, n) for n in (0, 5)]
        until(lambda: count_waiting(batcher) == 2)
        work.may_run.set()

        assert first_call.result() == 2
        for call in failing_calls:
            with pytest.raises(ZeroDivisionError):
                call.result()
    assert batcher.process(7) == 14


def test_a_hanging_batch_does_not_block_the_next_batch() -> None:
    work = DoublingWork()
    batcher = Batcher(work, max_items=100, turn_timeout_s=0.01)
    work.may_run.clear()
    with ThreadPoolExecutor(2) as threads:
        threads.submit(batcher.process, 1)
        until(lambda: work.batches)
        threads.submit(batcher.process, 2)

        until(lambda: [2] in work.batches)
        work.may_run.set()


def test_concurrent_threads_get_the_outcomes_of_their_own_items() -> None:
    work = DoublingWork()
    batcher = Batcher(work, max_items=8)

    thread_count, calls_per_thread = 16, 299

    def call_repeatedly(thread_number: int) -> bool:
        first_item = 1000 * thread_number + 1
        return all(batcher.process(n) == 2 * n for n in range(first_item, first_item + calls_per_thread))

    with ThreadPoolExecutor(thread_count) as threads:
        assert all(threads.map(call_repeatedly, range(thread_count)))
    assert sum(map(len, work.batches)) == thread_count * calls_per_thread
