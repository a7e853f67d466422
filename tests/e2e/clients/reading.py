"""Functions and a fixture for tests that read streams with disconnects."""

import json
import random

import pytest

from tests import stream_checker
from tests.harness.stack import Stack
from tests.model_server import ModelServer
from tests.stream_checker import open_event_stream

RESPONSES_PATH = "/v1/responses"


@pytest.fixture
def two_api_stack(stack: Stack) -> Stack:
    """A stack with two API processes."""
    stack.up(PING_S="1")
    stack.start("api-2", PING_S="1")
    return stack


def stored_document(stack: Stack, response_id: str) -> stream_checker.Event:
    ((document,),) = stack.sql("select document from responses where id = %s", response_id)
    return json.loads(document)


def stream_request(models: ModelServer, *, background: bool = True, **script: object) -> dict:
    """The body of a create request with `stream`."""
    script_text = models.script(**{"tag": "s", "tokens": 40, "delay_s": 0.05} | script)
    return {"model": "scripted", "input": script_text, "stream": True, "background": background}


def read_with_disconnects(stack: Stack, models: ModelServer, seed: int, *, disconnect_count: int, tokens: int) -> None:
    """Assert that a reader with disconnects, on both API processes, gets the events of a reader without disconnects."""
    print(f"seed {seed}")
    generator = random.Random(seed)
    events: list[stream_checker.Event] = []
    raw_events = b""
    with open_event_stream(
        stack.port, stack.key, RESPONSES_PATH, stream_request(models, tag=f"i{seed}", tokens=tokens, delay_s=0.02)
    ) as undisturbed_reader:
        response_id = undisturbed_reader.read(1)[0]["response"]["id"]
        connection_count = 0
        while not events or events[-1]["type"] not in stream_checker.TERMINAL:
            last_seq = events[-1]["sequence_number"] if events else -1
            path = f"{RESPONSES_PATH}/{response_id}?stream=true&starting_after={last_seq}"
            with open_event_stream(
                generator.choice((stack.port, stack.port_2)), stack.key, path, after=last_seq
            ) as stream:
                events += stream.read(generator.randrange(1, 4) if connection_count < disconnect_count else None)
                raw_events += stream.raw
            connection_count += 1
        all_events = undisturbed_reader.read()
    assert connection_count > disconnect_count
    assert raw_events == undisturbed_reader.raw
    assert events == all_events == stack.event_log(response_id)
    stream_checker.check_complete_log(events, stored_document(stack, response_id))
