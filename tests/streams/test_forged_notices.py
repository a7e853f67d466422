"""No message that another program publishes in Valkey reaches a stream, ends a wait or stops the broadcaster."""

import threading
from collections.abc import Iterator

import pytest
import redis

from core import jsonio
from core.bootstrap import Core, open_core
from core.notify.bus import ENDED_CHANNEL, events_channel
from core.notify.signatures import Signatures
from core.runs.attempt import Attempt
from core.settings import Settings
from core.streams.broadcaster import POLL_INTERVAL_S
from tests.harness.engine import COMPLETED, batch, claim, create_caller, opening_batch, register_worker, submit
from tests.harness.waiting import until
from tests.streams.test_broadcaster import StreamReader, delta_batch, wait_for_subscription

INVALID_MESSAGES = (b"\xff\xfe", b"a", b"a b c\nx", b"a 1 " + b"9" * 5000, b"a -5 3 \xff\nx", b" \n", b"x" * 1_000_000)


@pytest.fixture(params=[None, "new-key, old-key"])
def secret(request: pytest.FixtureRequest) -> str | None:
    value: str | None = request.param
    return value


@pytest.fixture
def core(settings: Settings, secret: str | None) -> Iterator[Core]:
    """A core with or without a secret key."""
    changes = {"secret_key": Settings(secret_key=secret).secret_key}
    with open_core(settings.model_copy(update=changes), connections=8) as core:
        yield core


@pytest.fixture
def attempt(core: Core) -> Attempt:
    """An attempt of a running response; the log has six events."""
    register_worker(core)
    attempt = claim(core, submit(core, create_caller(core)))
    core.attempts.append_events([opening_batch(attempt)])
    return attempt


@pytest.fixture
def neighbour(valkey_url: str) -> Iterator[redis.Redis]:
    """Another program with access to the same Valkey."""
    with redis.Redis.from_url(valkey_url) as client:
        yield client


def test_a_forged_event_does_not_reach_a_stream(
    core: Core, valkey_url: str, attempt: Attempt, neighbour: redis.Redis
) -> None:
    reader = StreamReader(core, attempt.response_id)
    wait_for_subscription(valkey_url, attempt.response_id)
    reader.wait_for_events(6)
    event = jsonio.dumps({"type": "response.completed", "sequence_number": 6, "response": {}})
    for signature in ("", " " + "0" * 32, " " + Signatures("other").sign(b"").decode()):
        head = f"{attempt.response_id} 6 1{signature}\n"
        assert neighbour.publish(events_channel(attempt.response_id), head + event) == 1
    core.attempts.append_events([delta_batch(attempt, 6)])
    core.bus.publish_events([delta_batch(attempt, 6)])

    reader.wait_for_events(7, timeout_s=POLL_INTERVAL_S / 2)
    core.attempts.end(attempt, COMPLETED, batch(attempt, [], 7))
    reader.join(timeout=2)
    assert reader.sequence_numbers() == list(range(len(reader.lines)))
    assert event.encode() not in reader.lines


@pytest.mark.parametrize("secret", ["new-key, old-key"], indirect=True)
def test_an_event_that_was_signed_with_any_key_is_not_read_from_postgres(
    core: Core, valkey_url: str, attempt: Attempt, neighbour: redis.Redis
) -> None:
    reader = StreamReader(core, attempt.response_id)
    wait_for_subscription(valkey_url, attempt.response_id)
    reader.wait_for_events(6)
    core.bus.publish_events([delta_batch(attempt, 6)])  # not committed, so only Valkey has it
    reader.wait_for_events(7)
    line = delta_batch(attempt, 7).lines[0]
    signed_part = f"{attempt.response_id} 7 1\n{line}".encode()
    signature = Signatures("old-key").sign(signed_part)
    neighbour.publish(events_channel(attempt.response_id), signed_part.replace(b"\n", b" " + signature + b"\n", 1))

    reader.wait_for_events(8)


def test_a_forged_end_does_not_end_a_wait(core: Core, attempt: Attempt, neighbour: redis.Redis) -> None:
    ends: list[bool] = []
    slot = core.wait_slots.take_slot()
    waiter = threading.Thread(target=lambda: ends.append(slot.wait(attempt.response_id, 10)))
    waiter.start()
    until(lambda: slot._subscription is not None and neighbour.pubsub_numsub(ENDED_CHANNEL)[0][1] >= 1)
    for signature in ("", " " + "0" * 32):
        neighbour.publish(ENDED_CHANNEL, attempt.response_id + signature)
    waiter.join(timeout=POLL_INTERVAL_S / 2)
    assert waiter.is_alive()
    core.attempts.end(attempt, COMPLETED, batch(attempt, [], 6))

    waiter.join(timeout=POLL_INTERVAL_S / 2)
    assert ends == [True]
    slot.leave()


def test_an_invalid_message_does_not_stop_the_broadcaster(
    core: Core, valkey_url: str, attempt: Attempt, neighbour: redis.Redis
) -> None:
    reader = StreamReader(core, attempt.response_id)
    wait_for_subscription(valkey_url, attempt.response_id)
    reader.wait_for_events(6)
    for message in INVALID_MESSAGES:
        for channel in (ENDED_CHANNEL, events_channel(attempt.response_id)):
            assert neighbour.publish(channel, message) >= 1
    for number in range(6, 12):
        core.attempts.append_events([delta_batch(attempt, number)])
        core.bus.publish_events([delta_batch(attempt, number)])
        reader.wait_for_events(number + 1, timeout_s=POLL_INTERVAL_S / 2)
