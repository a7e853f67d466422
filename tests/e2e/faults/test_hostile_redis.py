"""Nothing that another program writes to Redis stops a worker."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
import redis

from core.dispatch.celery_app import KEY_PREFIX, RUN_RESPONSE, celery_app, queue_name
from core.dispatch.celery_message import MessageTemplate
from tests.harness.stack import Stack
from tests.harness.waiting import until, wait_for_end
from tests.model_server import ModelServer

VALID_MESSAGE: dict[str, Any] = json.loads(MessageTemplate().task_message("resp_" + "0" * 48, "default"))


def message_with_body(body: object) -> dict[str, Any]:
    return VALID_MESSAGE | {"body": base64.b64encode(json.dumps(body).encode()).decode()}


POISON_MESSAGES: dict[str, object] = {
    "body [1]": message_with_body([1]),
    "body null": message_with_body(None),
    "body text": message_with_body("text"),
    "arguments null": message_with_body([None, {}, {}]),
    "too many arguments": message_with_body([["a", "b"], {}, {}]),
    "a number as ID": message_with_body([[1], {}, {}]),
    "an object as ID": message_with_body([[{"a": 1}], {}, {}]),
    "not base64": VALID_MESSAGE | {"body": "%%%"},
    "no body": {name: value for name, value in VALID_MESSAGE.items() if name != "body"},
    "no properties": {name: value for name, value in VALID_MESSAGE.items() if name != "properties"},
    "headers null": VALID_MESSAGE | {"headers": None},
    "headers list": VALID_MESSAGE | {"headers": [1]},
    "no headers": VALID_MESSAGE | {"headers": {}},
    "unknown task": VALID_MESSAGE | {"headers": VALID_MESSAGE["headers"] | {"task": "other"}},
    "eta text": VALID_MESSAGE | {"headers": VALID_MESSAGE["headers"] | {"eta": "soon"}},
    "time limit text": VALID_MESSAGE | {"headers": VALID_MESSAGE["headers"] | {"timelimit": ["a", "b"]}},
    "pickle": VALID_MESSAGE | {"content-type": "application/x-python-serialize"},
    "a list": [1, 2],
    "a number": 5,
    "not JSON": b"{",
    "not UTF-8": b"\xff\xfe",
    "deep JSON": b"[" * 100_000,
}


def test_poison_messages_are_dropped_and_the_worker_continues(shared_stack: Stack, models: ModelServer) -> None:
    pid = shared_stack.children["worker"].pid
    with redis.Redis.from_url(shared_stack.valkey.url) as valkey, shared_stack.client() as client:
        for message in POISON_MESSAGES.values():
            valkey.lpush(
                KEY_PREFIX + queue_name("default"), message if isinstance(message, bytes) else json.dumps(message)
            )
        response = client.responses.create(model="scripted", input=models.script(tokens=3), background=True)

        assert wait_for_end(client, response.id).status == "completed"
        until(lambda: valkey.llen(KEY_PREFIX + queue_name("default")) == 0)

    assert shared_stack.children["worker"].pid == pid
    assert shared_stack.children["worker"].ended() is None
    assert shared_stack.log("worker").count('msg="dropped a message"') >= 5


def test_a_forged_stop_notice_stops_no_run(shared_stack: Stack, models: ModelServer) -> None:
    pid = shared_stack.children["worker"].pid
    with redis.Redis.from_url(shared_stack.valkey.url) as valkey, shared_stack.client() as client:
        script = models.script(tokens=20, delay_s=0.1)
        response = client.responses.create(model="scripted", input=script, background=True)
        until(lambda: client.responses.retrieve(response.id).output_text)
        (channel,) = valkey.pubsub_channels("backburner:stop:*")
        for message in (b"\xff\xfe", b"", b"x" * 1_000_000, response.id.encode()):
            assert valkey.publish(channel, message) == 1
        final_response = wait_for_end(client, response.id)
        (attempts,) = shared_stack.sql("select count(*) from attempts where response_id = %s", response.id)

    assert final_response.status == "completed"
    assert attempts == (1,)
    assert shared_stack.children["worker"].pid == pid
    assert shared_stack.children["worker"].ended() is None


WRONG_TYPES: dict[str, Callable[[redis.Redis, str], object]] = {
    "text": lambda valkey, key: valkey.set(key, "x"),
    "hash": lambda valkey, key: valkey.hset(key, "a", "b"),
    "stream": lambda valkey, key: valkey.xadd(key, {"a": "b"}),
}


@pytest.mark.parametrize("type_name", WRONG_TYPES)
def test_a_queue_of_the_wrong_type_is_replaced(shared_stack: Stack, models: ModelServer, type_name: str) -> None:
    with redis.Redis.from_url(shared_stack.valkey.url) as valkey, shared_stack.client() as client:
        worker_queues = {
            channel.decode().replace("backburner:stop:", "backburner:worker.")
            for channel in valkey.pubsub_channels("backburner:stop:*")
        }
        for key in {KEY_PREFIX + queue_name("default"), *worker_queues}:
            valkey.delete(key)
            WRONG_TYPES[type_name](valkey, key)
        response = client.responses.create(model="scripted", input=models.script(tokens=3), background=True)

        assert wait_for_end(client, response.id).status == "completed"
    assert shared_stack.children["worker"].ended() is None


@pytest.mark.parametrize("type_name", ["text", "hash"])
def test_bindings_of_the_wrong_type_are_replaced(shared_stack: Stack, models: ModelServer, type_name: str) -> None:
    with redis.Redis.from_url(shared_stack.valkey.url) as valkey, shared_stack.client() as client:
        for key in valkey.keys("backburner:_kombu.binding*"):
            valkey.delete(key)
            WRONG_TYPES[type_name](valkey, key.decode())
        valkey.client_kill_filter(_type="normal", skipme=True)  # the worker connects again and binds its queues
        response = client.responses.create(model="scripted", input=models.script(tokens=3), background=True)

        assert wait_for_end(client, response.id).status == "completed"
    assert shared_stack.children["worker"].ended() is None


CONTROL_COMMANDS: dict[str, Callable[[Any], object]] = {
    "shutdown": lambda control: control.broadcast("shutdown"),
    "cancel_consumer": lambda control: control.cancel_consumer("responses.default"),
    "pool_shrink": lambda control: control.pool_shrink(100),
    "pool_restart": lambda control: control.broadcast("pool_restart"),
    "autoscale": lambda control: control.autoscale(0, 0),
    "rate_limit": lambda control: control.rate_limit(RUN_RESPONSE, "1/h"),
    "time_limit": lambda control: control.time_limit(RUN_RESPONSE, hard=1),
    "disable_events": lambda control: control.disable_events(),
    "unknown": lambda control: control.broadcast("does_not_exist", arguments={"a": 1}),
}


@pytest.mark.parametrize("name", CONTROL_COMMANDS)
def test_a_remote_control_command_does_not_change_a_worker(shared_stack: Stack, models: ModelServer, name: str) -> None:
    app = celery_app(shared_stack.valkey.url)
    refusals_before = shared_stack.log("worker").count("refused a remote control command")
    CONTROL_COMMANDS[name](app.control)

    if name != "unknown":
        until(lambda: shared_stack.log("worker").count("refused a remote control command") > refusals_before)
    with shared_stack.client() as client:
        response = client.responses.create(model="scripted", input=models.script(tokens=3), background=True)
        assert wait_for_end(client, response.id).status == "completed"
    assert shared_stack.children["worker"].ended() is None
    # The worker still replies to commands that only read its state.
    inspector = app.control.inspect(timeout=5, limit=1)
    assert all(statistics["pool"] for statistics in until(inspector.stats).values())
    app.close()
