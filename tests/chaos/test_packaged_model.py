"""Workers that are killed while the packaged model generates: the texts are the same as without kills."""

import json
import os
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from local import ports
from local.home import Home
from local.processes import child
from local.servers import model
from tests import invariants, stream_checker
from tests.harness.stack import Stack
from tests.harness.waiting import until

RESPONSE_COUNT = 50
TOKEN_COUNT = 48
TOPICS = (
    "the sea",
    "a lighthouse",
    "bread",
    "rain",
    "an old clock",
    "the moon",
    "a small town",
    "trains",
    "bees",
    "snow",
)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration with the packaged model and a concurrency of 1, because batching would change the output of the model."""
    home, port = Home.at(tmp_path / "model"), ports.free_port()
    path = tmp_path / "backburner.toml"
    path.write_text(
        f'[models.small]\nbase_url = "{model.base_url(port)}"\nupstream_model = "{model.NAME}"\n'
        'supports = ["continue"]\nconcurrency = 1\n'
    )
    with child.running(model.build_part(home, port), home):
        yield path  # type: ignore[misc]


def create_responses(stack: Stack) -> dict[str, str]:
    """Create responses; return their inputs by ID."""
    with stack.client() as client:
        return {
            client.responses.create(
                model="small", input=text, temperature=0, max_output_tokens=TOKEN_COUNT, background=True
            ).id: text
            for text in [f"Write sentence number {n} about {TOPICS[n % len(TOPICS)]}." for n in range(RESPONSE_COUNT)]
        }


def read_with_disconnects(stack: Stack, response_id: str, seed: int) -> list[stream_checker.Event]:
    """Read all events of a response, with a new connection after every few events."""
    rng = random.Random(seed)
    events: list[stream_checker.Event] = []
    while not events or events[-1]["type"] not in stream_checker.TERMINAL:
        after = len(events) - 1
        path = f"/v1/responses/{response_id}?stream=true" + (f"&starting_after={after}" if events else "")
        with stream_checker.open_event_stream(stack.port, stack.key, path, after=after, timeout_s=60) as reader:
            events += reader.read(rng.randrange(3, 15))  # asserts that no event is missing or repeated
    return events


def texts_by_input(stack: Stack, inputs: dict[str, str]) -> dict[str, str]:
    """The output texts of responses by their inputs; `inputs` contains the inputs by response ID."""
    with stack.client() as client:
        return {text: client.responses.retrieve(response_id).output_text for response_id, text in inputs.items()}


def kill_worker_repeatedly(stack: Stack, rng: random.Random) -> int:
    """Kill the worker at random tokens until all responses have ended; return the number of kills."""
    kills = 0
    token_sum_query = "select coalesce(sum(tokens), 0) from response_events"
    while not stack.all_ended():
        token_goal = stack.sql(token_sum_query)[0][0] + rng.randrange(5, 60)
        until(lambda goal=token_goal: stack.all_ended() or stack.sql(token_sum_query)[0][0] >= goal, timeout_s=120)
        stack.freeze("worker")  # the worker must not claim a response between the query and the kill
        if stack.sql("select 1 from responses where status = 'in_progress' and failures > 1"):
            stack.thaw("worker")
            continue  # a third loss would end the response
        stack.kill("worker")
        stack.start("worker")
        kills += 1
    return kills


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_texts_at_temperature_0_are_the_same_with_and_without_killed_workers(stack: Stack) -> None:
    seed = int(os.environ.get("SEED", random.randrange(2**32)))  # noqa: TID251
    print(f"seed {seed}")
    rng = random.Random(seed)
    invariants.watch_ends(stack)
    stack.up()
    undisturbed_inputs = create_responses(stack)
    until(stack.all_ended, timeout_s=600)
    disturbed_inputs = create_responses(stack)
    readers = ThreadPoolExecutor(RESPONSE_COUNT)
    streams = {
        response_id: readers.submit(read_with_disconnects, stack, response_id, rng.randrange(2**32))
        for response_id in disturbed_inputs
    }
    kills = kill_worker_repeatedly(stack, rng)
    for response_id, stream in streams.items():
        ((document,),) = stack.sql("select document from responses where id = %s", response_id)
        stream_checker.check_complete_log(stream.result(60), json.loads(document))
    readers.shutdown()
    invariants.check_responses(stack, undisturbed_inputs.keys() | disturbed_inputs.keys())

    ((second_attempts, later_attempts),) = stack.sql(
        "select count(*) filter (where attempt = 2), count(*) filter (where attempt > 2) from attempts"
    )
    undisturbed_texts = texts_by_input(stack, undisturbed_inputs)
    disturbed_texts = texts_by_input(stack, disturbed_inputs)
    equal_count = sum(disturbed_texts[input_text] == text for input_text, text in undisturbed_texts.items())
    print(
        f"{RESPONSE_COUNT} responses, {kills} workers killed, {second_attempts} second attempts, "
        f"{later_attempts} later attempts; {equal_count} equal texts"
    )
    assert second_attempts > RESPONSE_COUNT / 5
    assert disturbed_texts == undisturbed_texts
