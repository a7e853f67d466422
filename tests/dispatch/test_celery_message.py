"""The message we write to Redis is the one Celery would write."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from core.dispatch.celery_app import RUN_RESPONSE, celery_app, lane_queue
from core.dispatch.celery_message import queue_key
from core.dispatch.doorbell import Doorbell

# Fields that differ in every message.
OWN = {"delivery_tag", "timestamp", "clock"}


@pytest.fixture
def heard(valkey_url: str) -> Iterator[redis.client.PubSub]:
    """Receives everything that is published."""
    with redis.Redis.from_url(valkey_url) as client, client.pubsub() as heard:
        heard.psubscribe("*")
        assert heard.get_message(timeout=5)
        yield heard


def whole(message: bytes) -> Any:
    """A message with its body decoded, without the fields that differ in every message."""

    def known(value: Any) -> Any:
        return {k: known(v) for k, v in value.items() if k not in OWN} if isinstance(value, dict) else value

    read = json.loads(message)
    return known(read | {"body": json.loads(base64.b64decode(read["body"]))})


def written(valkey_url: str, heard: redis.client.PubSub) -> tuple[Any, str, Any]:
    """The task in the lane's queue, the channel of the event published for it, and that event."""
    with redis.Redis.from_url(valkey_url) as client:
        task = client.rpop(queue_key("slow"))
    said = heard.get_message(timeout=5)
    assert task is not None and said is not None
    return whole(task), said["channel"].decode(), whole(said["data"])


def test_a_ring_is_what_celery_would_send_and_say_of_it(valkey_url: str, heard: redis.client.PubSub) -> None:
    app = celery_app(valkey_url)
    app.send_task(RUN_RESPONSE, ("resp_1",), task_id="resp_1", queue=lane_queue("slow"), retry=False)
    theirs = written(valkey_url, heard)
    app.close()
    doorbell = Doorbell(valkey_url)
    assert doorbell.enqueue(["resp_1"], "slow") == []
    ours = written(valkey_url, heard)
    doorbell.close()

    theirs[0]["properties"]["reply_to"] = ""  # no result is sent back
    assert ours == theirs


def test_rings_are_heard_in_their_order(valkey_url: str) -> None:
    doorbell = Doorbell(valkey_url)
    doorbell.enqueue(["resp_1", "resp_2", "resp_3"], "slow")
    doorbell.close()

    with redis.Redis.from_url(valkey_url) as client:
        heard = [whole(client.rpop(queue_key("slow")))["headers"]["id"] for _ in range(3)]
    assert heard == ["resp_1", "resp_2", "resp_3"]


def test_a_ring_gets_through_at_once_after_redis_dropped_its_connections(valkey_url: str) -> None:
    doorbell = Doorbell(valkey_url)
    doorbell.enqueue(["resp_1"], "slow")
    with redis.Redis.from_url(valkey_url) as client:
        client.client_kill_filter(_type="normal", skipme=True)

        assert doorbell.enqueue(["resp_2"], "slow") == []
        assert client.llen(queue_key("slow")) == 2
    doorbell.close()
