"""Reading streams through disconnects."""

import json
import random

import pytest

from tests import stream_checker
from tests.harness.stack import Stack
from tests.model_server import ModelServer
from tests.stream_checker import reading

RESPONSES_PATH = "/v1/responses"


@pytest.fixture
def up(stack: Stack) -> Stack:
    """A stack with two API processes."""
    stack.up(PING_S="1")
    stack.start("api-2", PING_S="1")
    return stack


def stored_document(stack: Stack, response_id: str) -> stream_checker.Event:
    return json.loads(stack.sql("select document from responses where id = %s", response_id)[0][0])


def stream_request(models: ModelServer, *, background: bool = True, **script: object) -> dict:
    """The body of a create request with `stream`."""
    text = models.script(**{"tag": "s", "tokens": 40, "delay_s": 0.05} | script)
    return {"model": "scripted", "input": text, "stream": True, "background": background}


def read_with_disconnects(up: Stack, models: ModelServer, seed: int, *, disconnects: int, tokens: int) -> None:
    """Read one stream through `disconnects` disconnects over both APIs, in parallel with an undisturbed reader."""
    print(f"seed {seed}")
    generator = random.Random(seed)
    events: list[stream_checker.Event] = []
    raw_events = b""
    with reading(
        up.port, up.key, RESPONSES_PATH, stream_request(models, tag=f"i{seed}", tokens=tokens, delay_s=0.02)
    ) as undisturbed_reader:
        response_id = undisturbed_reader.read(1)[0]["response"]["id"]
        connections = 0
        while not events or events[-1]["type"] not in stream_checker.TERMINAL:
            last_number = events[-1]["sequence_number"] if events else -1
            path = f"{RESPONSES_PATH}/{response_id}?stream=true&starting_after={last_number}"
            with reading(generator.choice((up.port, up.port_2)), up.key, path, after=last_number) as stream:
                events += stream.read(generator.randrange(1, 4) if connections < disconnects else None)
                raw_events += stream.raw
            connections += 1
        all_events = undisturbed_reader.read()
    assert connections > disconnects
    assert raw_events == undisturbed_reader.raw
    assert events == all_events == up.event_log(response_id)
    stream_checker.check(events, stored_document(up, response_id))
