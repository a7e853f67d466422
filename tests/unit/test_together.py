"""Looks made together: who shares one, and what becomes of a look that fails or hangs."""

import threading
from collections.abc import Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from core import errors
from core.together import LIMIT, Together
from tests.waiting import until


class Looks:
    """Looks that end when they are let, and what each was for."""

    def __init__(self) -> None:
        self.made: list[set[int]] = []
        self.go = threading.Event()
        self.fails = False

    def look(self, keys: Collection[int]) -> Mapping[int, str]:
        self.made.append(set(keys))
        assert self.go.wait(30)
        if self.fails:
            raise errors.StoreUnavailable("Postgres is not available.") from TimeoutError()
        return {key: str(key) for key in keys if key >= 0}


def _asked(
    threads: ThreadPoolExecutor, together: Together[int, str], keys: Collection[int]
) -> list[Future[str | None]]:
    return [threads.submit(together.find, key) for key in keys]


@pytest.fixture
def looks() -> Looks:
    return Looks()


@pytest.fixture
def together(looks: Looks) -> Together[int, str]:
    return Together(looks.look, turn_s=30)


def test_who_comes_during_a_look_shares_the_next_one(looks: Looks, together: Together[int, str]) -> None:
    with ThreadPoolExecutor(8) as threads:
        first = threads.submit(together.find, 0)
        until(lambda: looks.made == [{0}])
        others = _asked(threads, together, [1, 2, 2, 0, -1])
        until(lambda: together.waiting == 5)
        looks.go.set()

        assert first.result(30) == "0"
        assert [other.result(30) for other in others] == ["1", "2", "2", "0", None]
    assert looks.made == [{0}, {0, 1, 2, -1}]


def test_a_look_is_for_so_many_at_the_most(looks: Looks, together: Together[int, str]) -> None:
    with ThreadPoolExecutor(2 * LIMIT) as threads:
        asked = _asked(threads, together, [0])
        until(lambda: looks.made == [{0}])
        asked += _asked(threads, together, range(1, LIMIT + 1))
        until(lambda: together.waiting == LIMIT)
        asked += _asked(threads, together, range(LIMIT + 1, LIMIT + 3))
        until(lambda: together.waiting == 2)
        looks.go.set()

        assert sorted(one.result(30) or "" for one in asked) == sorted(str(key) for key in range(LIMIT + 3))
    assert sorted(len(look) for look in looks.made) == [1, 2, LIMIT]


def test_a_failure_is_told_to_each_as_its_own_with_its_cause(looks: Looks, together: Together[int, str]) -> None:
    looks.fails = True
    with ThreadPoolExecutor(4) as threads:
        asked = _asked(threads, together, [0])
        until(lambda: looks.made == [{0}])
        asked += _asked(threads, together, [1, 2])
        until(lambda: together.waiting == 2)
        looks.go.set()
        failures = [one.exception(30) for one in asked]

    assert len({id(failure) for failure in failures}) == 3
    for failure in failures:
        assert isinstance(failure, errors.StoreUnavailable)
        assert isinstance(failure.__cause__, TimeoutError)
    looks.fails = False
    assert together.find(3) == "3"


def test_a_look_that_hangs_holds_up_no_other(looks: Looks) -> None:
    together = Together(looks.look, turn_s=0.01)
    with ThreadPoolExecutor(2) as threads:
        asked = _asked(threads, together, [0])
        until(lambda: looks.made == [{0}])
        asked += _asked(threads, together, [1])
        until(lambda: looks.made == [{0}, {1}])
        looks.go.set()

        assert [one.result(30) for one in asked] == ["0", "1"]
