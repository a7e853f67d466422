"""The messages that the doorbell writes to Redis: they equal those of Celery and keep their order."""

import base64
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import redis

from core.dispatch.celery_app import KEY_PREFIX, RUN_RESPONSE, celery_app, lane_queue, queue_name
from core.dispatch.doorbell import Doorbell

# Fields with a different value in every message.
UNIQUE_FIELDS = {"delivery_tag", "timestamp", "clock"}


class SentMessages(NamedTuple):
    """The messages that Redis received for one task."""

    task: Any
    event_channel: str
    event: Any


@pytest.fixture
def pubsub(valkey_url: str) -> Iterator[redis.client.PubSub]:
    """A subscription to all channels."""
    with redis.Redis.from_url(valkey_url) as client, client.pubsub() as pubsub:
        pubsub.psubscribe("*")
        assert pubsub.get_message(timeout=5)
        yield pubsub


def decode_message(message: bytes) -> Any:
    """Return a message with its body decoded, without `UNIQUE_FIELDS`."""
    envelope = json.loads(message)
    return drop_unique_fields(envelope | {"body": json.loads(base64.b64decode(envelope["body"]))})


def drop_unique_fields(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: drop_unique_fields(field) for key, field in value.items() if key not in UNIQUE_FIELDS}


def read_messages(valkey_url: str, pubsub: redis.client.PubSub) -> SentMessages:
    """Return the task in the queue of the lane `slow`, and the event published for the task."""
    with redis.Redis.from_url(valkey_url) as client:
        task = client.rpop(KEY_PREFIX + queue_name("slow"))
    event = pubsub.get_message(timeout=5)
    assert task is not None and event is not None
    return SentMessages(decode_message(task), event["channel"].decode(), decode_message(event["data"]))


def test_the_doorbell_sends_the_same_message_and_event_as_celery(valkey_url: str, pubsub: redis.client.PubSub) -> None:
    app = celery_app(valkey_url)
    app.send_task(RUN_RESPONSE, ("resp_1",), task_id="resp_1", queue=lane_queue("slow"), retry=False)
    celery_messages = read_messages(valkey_url, pubsub)
    app.close()
    doorbell = Doorbell(valkey_url)
    assert doorbell.enqueue(["resp_1"], "slow") == []
    doorbell_messages = read_messages(valkey_url, pubsub)
    doorbell.close()

    celery_messages.task["properties"]["reply_to"] = ""  # the doorbell requests no result
    assert doorbell_messages == celery_messages


def test_messages_are_received_in_the_order_in_which_they_were_enqueued(valkey_url: str) -> None:
    doorbell = Doorbell(valkey_url)
    doorbell.enqueue(["resp_1", "resp_2", "resp_3"], "slow")
    doorbell.close()

    with redis.Redis.from_url(valkey_url) as client:
        response_ids = [decode_message(client.rpop(KEY_PREFIX + queue_name("slow")))["headers"]["id"] for _ in range(3)]
    assert response_ids == ["resp_1", "resp_2", "resp_3"]


def test_a_response_is_enqueued_immediately_after_redis_closed_all_connections(valkey_url: str) -> None:
    doorbell = Doorbell(valkey_url)
    doorbell.enqueue(["resp_1"], "slow")
    with redis.Redis.from_url(valkey_url) as client:
        client.client_kill_filter(_type="normal", skipme=True)

        assert doorbell.enqueue(["resp_2"], "slow") == []
        assert client.llen(KEY_PREFIX + queue_name("slow")) == 2
    doorbell.close()
