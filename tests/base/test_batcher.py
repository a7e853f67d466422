"""Concurrent calls run as one batch, and each caller gets the outcome of its own item."""

import functools
import operator
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from core.batcher import Batcher
from tests.harness.waiting import until


class Work:
    """Doubles numbers; can be blocked, raises on zero, and returns an error for negative numbers."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go = threading.Event()
        self.go.set()

    def __call__(self, items: Sequence[int]) -> list[int | Exception]:
        self.batches.append(list(items))
        assert self.go.wait(10)
        if 0 in items:
            raise ZeroDivisionError
        return [2 * item if item > 0 else ValueError(item) for item in items]


def waiting(together: Batcher) -> int:
    """The number of items in the next batch."""
    batch = together._next
    return 0 if batch is None else len(batch.items)


def test_what_is_asked_for_while_work_is_under_way_is_done_in_one_go_after_it() -> None:
    work = Work()
    together = Batcher(work, most=100, turn_s=10)
    work.go.clear()
    with ThreadPoolExecutor(20) as threads:
        first = threads.submit(together.do, 1)
        until(lambda: work.batches)
        others = [threads.submit(together.do, n) for n in range(2, 21)]
        until(lambda: waiting(together) == 19)
        work.go.set()

        assert first.result() == 2
        assert [one.result() for one in others] == [2 * n for n in range(2, 21)]
    assert work.batches[0] == [1]
    assert sorted(work.batches[1]) == list(range(2, 21))
    assert len(work.batches) == 2


def test_no_more_than_so_many_are_done_at_once_and_all_are_done() -> None:
    work = Work()
    together = Batcher(work, most=3, turn_s=10)
    work.go.clear()
    with ThreadPoolExecutor(20) as threads:
        asked = [threads.submit(together.do, n) for n in range(1, 21)]
        until(lambda: waiting(together) == 1)
        work.go.set()

        assert [one.result() for one in asked] == [2 * n for n in range(1, 21)]
    assert max(map(len, work.batches)) == 3
    assert sorted(functools.reduce(operator.iadd, work.batches, [])) == list(range(1, 21))


def test_an_item_that_fails_is_an_error_only_where_it_was_asked_for() -> None:
    work = Work()
    together = Batcher(work, most=100, turn_s=10)
    work.go.clear()
    with ThreadPoolExecutor(3) as threads:
        first = threads.submit(together.do, 1)
        until(lambda: work.batches)
        bad, good = threads.submit(together.do, -1), threads.submit(together.do, 2)
        until(lambda: waiting(together) == 2)
        work.go.set()

        assert (first.result(), good.result()) == (2, 4)
        with pytest.raises(ValueError, match="-1"):
            bad.result()


def test_work_that_breaks_leaves_nobody_asleep_and_can_be_asked_for_again() -> None:
    work = Work()
    together = Batcher(work, most=100, turn_s=10)
    work.go.clear()
    with ThreadPoolExecutor(3) as threads:
        first = threads.submit(together.do, 1)
        until(lambda: work.batches)
        broken = [threads.submit(together.do, n) for n in (0, 5)]
        until(lambda: waiting(together) == 2)
        work.go.set()

        assert first.result() == 2
        for one in broken:
            with pytest.raises(ZeroDivisionError):
                one.result()
    assert together.do(7) == 14


def test_work_that_hangs_holds_up_nobody_else() -> None:
    work = Work()
    together = Batcher(work, most=100, turn_s=0.01)
    work.go.clear()
    with ThreadPoolExecutor(2) as threads:
        threads.submit(together.do, 1)
        until(lambda: work.batches)
        threads.submit(together.do, 2)

        until(lambda: [2] in work.batches)
        work.go.set()


def test_many_threads_that_ask_again_and_again_all_get_their_own_answers() -> None:
    work = Work()
    together = Batcher(work, most=8)

    def ask(thread: int) -> bool:
        return all(together.do(n) == 2 * n for n in range(1000 * thread + 1, 1000 * thread + 300))

    with ThreadPoolExecutor(16) as threads:
        assert all(threads.map(ask, range(16)))
    assert sum(map(len, work.batches)) == 16 * 299
