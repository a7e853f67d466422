"""Celery messages on the wire, built without Celery and kombu.

Celery needs about a millisecond of processor time per message, most of it for values that never change. The format is
that of Celery and kombu; a test compares every field with their messages.
"""

import base64
import os
import random
import time
import uuid
from typing import Any

import orjson
from celery.utils.nodenames import anon_nodename
from celery.utils.time import utcoffset

from core.dispatch.celery_app import KEY_PREFIX, RUN_RESPONSE, queue_name


def queue_key(lane: str) -> str:
    """Return the key of the Redis list that is the Celery queue of a lane."""
    return KEY_PREFIX + queue_name(lane)


def sent_channel(database: int) -> str:
    """Return the channel on which Flower receives `task-sent` events of the Redis database with this number."""
    return f"{KEY_PREFIX}/{database}.celeryev/task.sent"


class MessageTemplate:
    """Builds the messages of one process, in the format of `celery.app.amqp` and `kombu.transport.virtual` 5.7."""

    def __init__(self) -> None:
        self._origin = anon_nodename()
        self._pid = os.getpid()

    def task_message(self, response_id: str, lane: str) -> bytes:
        """Return the task message that enqueues a response."""
        headers: dict[str, Any] = {
            "lang": "py",
            "task": RUN_RESPONSE,
            "id": response_id,
            "shadow": None,
            "eta": None,
            "expires": None,
            "group": None,
            "group_index": None,
            "retries": 0,
            "timelimit": [None, None],
            "root_id": response_id,
            "parent_id": None,
            "argsrepr": repr((response_id,)),
            "kwargsrepr": "{}",
            "origin": self._origin,
            "ignore_result": None,
            "replaced_task_nesting": 0,
            "stamped_headers": None,
            "stamps": {},
        }
        body = [[response_id], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]
        return _encode_message(body, headers, "", queue_name(lane), 2, correlation_id=response_id, reply_to="")

    def sent_event(self, response_id: str, lane: str) -> bytes:
        """Return the `task-sent` event for Flower."""
        event = {
            "hostname": self._origin,
            "utcoffset": utcoffset(),
            "pid": self._pid,
            "clock": 1,
            "uuid": response_id,
            "root_id": response_id,
            "parent_id": None,
            "name": RUN_RESPONSE,
            "args": repr((response_id,)),
            "kwargs": "{}",
            "retries": 0,
            "eta": None,
            "expires": None,
            "queue": queue_name(lane),
            "exchange": "",
            "routing_key": queue_name(lane),
            "timestamp": time.time(),
            "type": "task-sent",
        }
        return _encode_message(event, {"hostname": self._origin}, "celeryev", "task.sent", 1)


def _encode_message(
    body: Any, headers: dict[str, Any], exchange: str, routing_key: str, delivery_mode: int, **properties: str
) -> bytes:
    return orjson.dumps(
        {
            "body": base64.b64encode(orjson.dumps(body)).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": headers,
            "properties": properties
            | {
                "delivery_mode": delivery_mode,
                "delivery_info": {"exchange": exchange, "routing_key": routing_key},
                "priority": 0,
                "body_encoding": "base64",
                # A UUID from `random`: `uuid4` calls `urandom`, which releases the GIL each time.
                "delivery_tag": str(uuid.UUID(int=random.getrandbits(128), version=4)),
            },
        }
    )
