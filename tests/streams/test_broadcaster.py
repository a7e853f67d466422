"""The broadcaster on a real Valkey and Postgres: a subscription misses no event and receives none twice."""

import threading
import time

import psycopg
import pytest
import redis

from core import errors, jsonio
from core.bootstrap import Core
from core.notify.bus import SENT_BYTES, Notice, events_channel
from core.runs.attempts import Attempt, Batch
from core.settings import Settings
from core.streams import broadcaster as hubs
from core.streams.broadcaster import Subscription
from core.wire import item_events
from core.wire.item_events import PartPath
from tests.harness.engine import COMPLETED, batch, caller, claim, opening, sql, submit, worker
from tests.harness.waiting import until

PLACE = PartPath("msg_1", 0, "output_text", 0)
BEAT_S = 60


class Reading(threading.Thread):
    """Reads a response's events in a thread of its own and keeps them."""

    def __init__(self, core: Core, response_id: str, after: int = -1) -> None:
        super().__init__(daemon=True)
        self.lines: list[bytes] = []
        self.cut: errors.Error | None = None
        self._read = core.streams.read(response_id, after=after, beat_s=BEAT_S)
        self.start()

    def run(self) -> None:
        try:
            for some in self._read:
                self.lines += some
        except errors.Error as error:
            self.cut = error

    def numbers(self) -> list[int]:
        return [jsonio.loads(line)["sequence_number"] for line in self.lines]

    def until(self, next_seq: int, within_s: float = 5) -> None:
        """Wait until all events below this number have arrived, each once and in order."""
        until(lambda: len(self.lines) >= next_seq, within_s=within_s, every_s=0.005)
        assert self.numbers() == list(range(next_seq))


@pytest.fixture
def running(core: Core) -> Attempt:
    """A response that has output `Hello`: six events."""
    worker(core)
    attempt = claim(core, submit(core, caller(core)))
    core.attempts.record([opening(attempt)])
    return attempt


def more(attempt: Attempt, first_seq: int, text: str = " more") -> Batch:
    return batch(attempt, [item_events.delta(PLACE, text)], first_seq)


def heard(valkey_url: str, response_id: str) -> None:
    """Wait until a broadcaster is subscribed to this response's channel."""
    with redis.Redis.from_url(valkey_url) as client:
        until(lambda: client.pubsub_numsub(events_channel(response_id))[0][1] == 1)


def test_what_is_announced_arrives_at_once_and_once(core: Core, valkey_url: str, running: Attempt) -> None:
    first, second = Reading(core, running.response_id), Reading(core, running.response_id)
    heard(valkey_url, running.response_id)
    for number in range(6, 30):
        one = more(running, number)
        core.attempts.record([one])
        announced = time.monotonic()
        core.bus.committed([one])
        core.bus.committed([one])  # as after a commit whose reply was lost
        first.until(number + 1, within_s=hubs.CHECK_S / 2)
        assert time.monotonic() - announced < hubs.CHECK_S / 2
    core.attempts.end(running, COMPLETED, batch(running, [], 30))

    first.join(timeout=2)
    second.join(timeout=2)
    assert first.lines == second.lines
    assert jsonio.loads(first.lines[-1])["type"] == "response.completed"
    assert first.numbers() == list(range(len(first.lines)))


def test_what_nobody_announced_arrives_within_a_second_or_so(core: Core, running: Attempt) -> None:
    reading = Reading(core, running.response_id)
    reading.until(6)
    core.attempts.record([more(running, 6)])

    reading.until(7, within_s=2 * hubs.CHECK_S)


def test_what_is_missing_before_an_announced_batch_is_read_from_postgres(
    core: Core, valkey_url: str, running: Attempt
) -> None:
    reading = Reading(core, running.response_id)
    heard(valkey_url, running.response_id)
    reading.until(6)
    core.attempts.record([more(running, 6)])
    core.attempts.record([more(running, 7)])
    core.bus.committed([more(running, 7)])

    reading.until(8, within_s=hubs.CHECK_S / 2)


def test_a_batch_too_large_to_be_sent_is_announced_and_read_from_postgres(
    core: Core, valkey_url: str, running: Attempt
) -> None:
    reading = Reading(core, running.response_id)
    heard(valkey_url, running.response_id)
    reading.until(6)
    large = more(running, 6, "x" * (SENT_BYTES + 1))
    with redis.Redis.from_url(valkey_url) as client, client.pubsub(ignore_subscribe_messages=True) as listening:
        listening.subscribe(events_channel(running.response_id))
        listening.get_message(timeout=1)
        core.attempts.record([large])
        core.bus.committed([large])
        message = until(lambda: listening.get_message(timeout=1))

    assert len(message["data"]) < 200
    reading.until(7, within_s=hubs.CHECK_S / 2)


def test_a_reader_behind_the_log_of_a_running_response_gets_its_rest_only(core: Core, running: Attempt) -> None:
    reading = Reading(core, running.response_id, after=7)
    core.attempts.record([more(running, 6)])
    core.attempts.record([more(running, 7)])
    core.attempts.record([more(running, 8)])
    until(lambda: reading.numbers() == [8], within_s=3)
    beyond = Reading(core, running.response_id, after=10**6)
    core.attempts.end(running, COMPLETED, batch(running, [], 9))

    reading.join(timeout=3)
    beyond.join(timeout=3)
    assert reading.numbers() == list(range(8, 8 + len(reading.lines)))
    assert not beyond.is_alive()
    assert beyond.lines == []


def test_a_response_that_is_deleted_ends_its_readers(core: Core, running: Attempt) -> None:
    core.attempts.end(running, COMPLETED, batch(running, [], 6))
    reading = core.streams.read(running.response_id, after=10**6, beat_s=BEAT_S)
    core.waiting.forget(running.response_id)

    with pytest.raises(errors.NotFound):
        list(reading)


def test_a_response_that_is_being_written_at_each_look_still_counts_as_waited_for(
    core: Core, settings: Settings
) -> None:
    response_id = submit(core, caller(core), background=False)
    ((before,),) = sql(settings, "select followed_until from responses")
    place = core.waiting.place()
    with psycopg.connect(settings.database_url.get_secret_value()) as writing:
        writing.execute("select 1 from responses where id = %s for no key update", (response_id,))
        assert not place.wait(response_id, 0, follow=True)
        queued = "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        until(lambda: sql(settings, queued), within_s=settings.follow_s)
        writing.commit()
    until(lambda: sql(settings, "select followed_until from responses") > [(before,)])
    place.leave()


def test_a_hub_that_drains_tells_its_readers_and_takes_no_more(core: Core, running: Attempt) -> None:
    reading = Reading(core, running.response_id)
    reading.until(6)
    core.broadcaster.drain()

    reading.join(timeout=2)
    assert isinstance(reading.cut, errors.Stopping)
    with pytest.raises(errors.Stopping):
        core.waiting.place()


def test_what_piles_up_for_a_follower_is_bounded_and_left_in_postgres() -> None:
    subscription = Subscription("resp_1", reads=True, keeps=False)
    assert subscription.must_look()
    line = b"x" * 1000
    for number in range(5000):
        subscription.push(Notice("resp_1", number, 1, line))
        assert subscription._bytes <= hubs.BUFFER_BYTES

    assert subscription.must_look()
    taken = subscription.take()
    assert len(taken) * len(line) <= hubs.BUFFER_BYTES
