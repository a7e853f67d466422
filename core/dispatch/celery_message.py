"""Celery messages with one response ID each, copied from sample messages that Celery itself has written.

Celery needs about a millisecond of processor time per message, most of it to compute values that never change.
"""

import base64
import os
import random
import time
import uuid
from typing import Any

import orjson
from kombu import Exchange, Queue

from core.dispatch.celery_app import KEY_PREFIX, RUN_RESPONSE, celery_app
from core.jsonio import JsonObject

_EVENT_EXCHANGE = "celeryev"


def sent_channel(database: int) -> str:
    """Return the channel on which Flower receives `task-sent` events of the Redis database with this number."""
    return f"{KEY_PREFIX}/{database}.{_EVENT_EXCHANGE}/task.sent"


class MessageTemplate:
    """Builds messages by replacing values in the messages that Celery has sent for a sample task."""

    def __init__(self) -> None:
        self._sample_task, self._sample_event = _capture_messages()
        self._task_body = orjson.loads(base64.b64decode(self._sample_task["body"]))
        self._event_body = orjson.loads(base64.b64decode(self._sample_event["body"]))

    def task_message(self, response_id: str, queue: str) -> bytes:
        """Return the task message that enqueues a response in the queue with this name."""
        headers = {"id": response_id, "root_id": response_id, "argsrepr": repr((response_id,))}
        # `reply_to` is empty, because no result is sent back.
        properties = {
            "correlation_id": response_id,
            "reply_to": "",
            "delivery_info": {"exchange": "", "routing_key": queue},
        }
        return _encode(self._sample_task, [[response_id], *self._task_body[1:]], headers, properties)

    def sent_event(self, response_id: str, queue: str) -> bytes:
        """Return the `task-sent` event for Flower."""
        event_fields = {
            "uuid": response_id,
            "root_id": response_id,
            "args": repr((response_id,)),
            "queue": queue,
            "routing_key": queue,
            "timestamp": time.time(),
        }
        return _encode(self._sample_event, self._event_body | event_fields, {}, {})


def _capture_messages() -> tuple[JsonObject, JsonObject]:
    """Send one task through Celery to an in-memory queue; return the task message and the `task-sent` event."""
    virtual_host = f"template-{os.getpid()}-{uuid.uuid4().hex}"
    event_queue_name, task_queue_name = f"events-{virtual_host}", f"tasks-{virtual_host}"
    app = celery_app("memory://")
    with app.connection_for_write() as connection:
        channel: Any = connection.default_channel  # the type stubs lack the methods of virtual transports
        Queue(event_queue_name, Exchange(_EVENT_EXCHANGE, type="topic"), routing_key="#", channel=channel).declare()
        queue: Any = Queue(task_queue_name)  # the type stubs accept only queue names
        with app.amqp.Producer(connection) as producer:
            app.send_task(RUN_RESPONSE, args=("",), queue=queue, producer=producer, retry=False)
        # A consumer would decode the messages.
        task_message, sent_event = channel._get(task_queue_name), channel._get(event_queue_name)  # noqa: SLF001
        channel.queue_delete(task_queue_name)
        channel.queue_delete(event_queue_name)
    app.close()
    return task_message, sent_event


def _encode(message: JsonObject, body: Any, headers: JsonObject, properties: JsonObject) -> bytes:
    """Return a copy of `message` with this body; `headers` and `properties` replace those of the same names."""
    # A UUID from `random`: `uuid4` calls `urandom`, which releases the GIL each time.
    delivery_tag = str(uuid.UUID(int=random.getrandbits(128), version=4))
    return orjson.dumps(
        message
        | {
            "body": base64.b64encode(orjson.dumps(body)).decode(),
            "headers": message["headers"] | headers,
            "properties": message["properties"] | properties | {"delivery_tag": delivery_tag},
        }
    )
