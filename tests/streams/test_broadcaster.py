"""The broadcaster on a real Valkey and Postgres: a subscription receives every event exactly once."""

import threading
import time

import psycopg
import pytest
import redis

from core import errors, jsonio
from core.bootstrap import Core
from core.notify.bus import MAX_SENT_BYTES, Bus, Notice, events_channel
from core.notify.signatures import Signatures
from core.runs.attempt import Attempt
from core.runs.attempts import Batch
from core.settings import Settings
from core.streams.broadcaster import POLL_INTERVAL_S, Broadcaster
from core.streams.subscription import BUFFER_BYTES, Subscription
from core.wire import item_events
from core.wire.item_events import PartPath
from tests.harness import tcp_proxy
from tests.harness.engine import COMPLETED, batch, claim, create_caller, opening_batch, register_worker, sql, submit
from tests.harness.waiting import until

PART = PartPath("msg_1", 0, "output_text", 0)
HEARTBEAT_S = 60


class StreamReader(threading.Thread):
    """A thread that reads a response's event stream and keeps the events in `lines`."""

    def __init__(self, core: Core, response_id: str, after: int = -1) -> None:
        super().__init__(daemon=True)
        self.lines: list[bytes] = []
        self.error: errors.Error | None = None
        self._stream = core.streams.read(response_id, after=after, heartbeat_s=HEARTBEAT_S)
        self.start()

    def run(self) -> None:
        try:
            for lines in self._stream:
                self.lines += lines
        except errors.Error as error:
            self.error = error

    def sequence_numbers(self) -> list[int]:
        return [jsonio.loads(line)["sequence_number"] for line in self.lines]

    def wait_for_events(self, next_seq: int, timeout_s: float = 5) -> None:
        """Wait until the events before number `next_seq` have arrived, each once and in order."""
        until(lambda: len(self.lines) >= next_seq, timeout_s=timeout_s, first_pause_s=0.005)
        assert self.sequence_numbers() == list(range(next_seq))


@pytest.fixture
def attempt(core: Core) -> Attempt:
    """An attempt of a running response with the output `Hello`; the log has six events."""
    register_worker(core)
    attempt = claim(core, submit(core, create_caller(core)))
    core.attempts.append_events([opening_batch(attempt)])
    return attempt


def delta_batch(attempt: Attempt, first_seq: int, text: str = " more") -> Batch:
    """A batch of one text delta with this sequence number."""
    return batch(attempt, [item_events.delta(PART, text)], first_seq)


def wait_for_subscription(valkey_url: str, response_id: str) -> None:
    """Wait until a broadcaster is subscribed to the channel of the response in Valkey."""
    with redis.Redis.from_url(valkey_url) as client:
        channel = events_channel(response_id)
        until(lambda: dict(client.pubsub_numsub(channel))[channel.encode()] == 1)


def test_a_published_batch_arrives_immediately_and_exactly_once(core: Core, valkey_url: str, attempt: Attempt) -> None:
    readers = [StreamReader(core, attempt.response_id) for _ in range(2)]
    wait_for_subscription(valkey_url, attempt.response_id)
    for number in range(6, 30):
        event_batch = delta_batch(attempt, number)
        core.attempts.append_events([event_batch])
        published_at = time.monotonic()
        core.bus.publish_events([event_batch])
        core.bus.publish_events([event_batch])  # as after a commit with a lost reply
        readers[0].wait_for_events(number + 1, timeout_s=POLL_INTERVAL_S / 2)
        assert time.monotonic() - published_at < POLL_INTERVAL_S / 2
    core.attempts.end(attempt, COMPLETED, batch(attempt, [], 30))

    for reader in readers:
        reader.join(timeout=2)
    assert readers[0].lines == readers[1].lines
    assert jsonio.loads(readers[0].lines[-1])["type"] == "response.completed"
    assert readers[0].sequence_numbers() == list(range(len(readers[0].lines)))


def test_an_unpublished_batch_arrives_within_two_polls(core: Core, attempt: Attempt) -> None:
    reader = StreamReader(core, attempt.response_id)
    reader.wait_for_events(6)
    core.attempts.append_events([delta_batch(attempt, 6)])

    reader.wait_for_events(7, timeout_s=2 * POLL_INTERVAL_S)


def test_events_missing_before_a_published_batch_are_read_from_postgres(
    core: Core, valkey_url: str, attempt: Attempt
) -> None:
    reader = StreamReader(core, attempt.response_id)
    wait_for_subscription(valkey_url, attempt.response_id)
    reader.wait_for_events(6)
    core.attempts.append_events([delta_batch(attempt, 6)])
    core.attempts.append_events([delta_batch(attempt, 7)])
    core.bus.publish_events([delta_batch(attempt, 7)])

    reader.wait_for_events(8, timeout_s=POLL_INTERVAL_S / 2)


def test_a_large_batch_is_published_without_events_and_read_from_postgres(
    core: Core, valkey_url: str, attempt: Attempt
) -> None:
    reader = StreamReader(core, attempt.response_id)
    wait_for_subscription(valkey_url, attempt.response_id)
    reader.wait_for_events(6)
    large_batch = delta_batch(attempt, 6, "x" * (MAX_SENT_BYTES + 1))
    with redis.Redis.from_url(valkey_url) as client, client.pubsub(ignore_subscribe_messages=True) as pubsub:
        pubsub.subscribe(events_channel(attempt.response_id))
        pubsub.get_message(timeout=1)
        core.attempts.append_events([large_batch])
        core.bus.publish_events([large_batch])
        message = until(lambda: pubsub.get_message(timeout=1))

    assert len(message["data"]) < 200
    reader.wait_for_events(7, timeout_s=POLL_INTERVAL_S / 2)


def test_a_reader_gets_only_events_after_its_starting_position(core: Core, attempt: Attempt) -> None:
    reader = StreamReader(core, attempt.response_id, after=7)
    core.attempts.append_events([delta_batch(attempt, 6)])
    core.attempts.append_events([delta_batch(attempt, 7)])
    core.attempts.append_events([delta_batch(attempt, 8)])
    until(lambda: reader.sequence_numbers() == [8], timeout_s=3)
    reader_beyond_end = StreamReader(core, attempt.response_id, after=10**6)
    core.attempts.end(attempt, COMPLETED, batch(attempt, [], 9))

    reader.join(timeout=3)
    reader_beyond_end.join(timeout=3)
    assert reader.sequence_numbers() == list(range(8, 8 + len(reader.lines)))
    assert not reader_beyond_end.is_alive()
    assert reader_beyond_end.lines == []


def test_the_deletion_of_a_response_ends_its_streams(core: Core, attempt: Attempt) -> None:
    core.attempts.end(attempt, COMPLETED, batch(attempt, [], 6))
    stream = core.streams.read(attempt.response_id, after=10**6, heartbeat_s=HEARTBEAT_S)
    core.wait_slots.delete_unstored(attempt.response_id)

    with pytest.raises(errors.NotFound):
        list(stream)


def test_followed_until_is_renewed_even_if_the_row_is_locked_at_every_poll(core: Core, settings: Settings) -> None:
    response_id = submit(core, create_caller(core), background=False)
    ((followed_until,),) = sql(settings, "select followed_until from responses")
    slot = core.wait_slots.take_slot()
    with psycopg.connect(settings.database_url.get_secret_value()) as writer:
        writer.execute("select 1 from responses where id = %s for no key update", (response_id,))
        assert not slot.wait(response_id, 0, keeps_alive=True)
        lock_waits = "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        until(lambda: sql(settings, lock_waits), timeout_s=settings.follow_s)
        writer.commit()
    until(lambda: sql(settings, "select followed_until from responses") > [(followed_until,)])
    slot.leave()


def test_a_draining_broadcaster_ends_its_streams_and_accepts_no_more_waits(core: Core, attempt: Attempt) -> None:
    reader = StreamReader(core, attempt.response_id)
    reader.wait_for_events(6)
    core.broadcaster.drain()

    reader.join(timeout=2)
    assert isinstance(reader.error, errors.ServerStopping)
    with pytest.raises(errors.ServerStopping):
        core.wait_slots.take_slot()


def test_the_buffer_of_a_subscription_is_bounded_and_its_excess_is_read_from_postgres() -> None:
    subscription = Subscription("resp_1", with_events=True, keeps_alive=False)
    assert subscription.take_read_request()
    line = b"x" * 1000
    for number in range(5000):
        subscription.push_notice(Notice("resp_1", number, 1, line))
        assert subscription._buffered_bytes <= BUFFER_BYTES

    assert subscription.take_read_request()
    lines = subscription.take_events()
    assert len(lines) * len(line) <= BUFFER_BYTES


def test_a_broadcaster_reconnects_after_redis_stops_answering(core: Core, settings: Settings) -> None:
    with tcp_proxy.running(settings.redis_url.get_secret_value()) as proxy:
        bus = Bus(proxy.url, Signatures(None))
        broadcaster = Broadcaster(core.streams._database, bus, follow_s=15)
        subscription = broadcaster.subscribe("resp_none", with_events=True)
        try:
            until(lambda: proxy.accepted_connections == 1)
            until(subscription.take_read_request)
            proxy.blackhole()
            until(lambda: proxy.discarded_reads >= 2, timeout_s=20)
            proxy.pass_on()

            until(lambda: proxy.accepted_connections >= 2, timeout_s=20)
        finally:
            broadcaster.unsubscribe(subscription)
            broadcaster.close()
            bus.close()
