"""Workers killed while the packaged model generates: its texts equal those of undisturbed runs."""

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

RESPONSES = 50
TOKENS = 48
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
    """The packaged model with a concurrency of 1: batching changes its arithmetic and thereby its output."""
    home, port = Home.at(tmp_path / "model"), ports.free()
    path = tmp_path / "backburner.toml"
    path.write_text(
        f'[models.small]\nbase_url = "{model.base_url(port)}"\nupstream_model = "{model.NAME}"\n'
        'supports = ["continue"]\nconcurrency = 1\n'
    )
    with child.running(model.part(home, port), home):
        yield path  # type: ignore[misc]


def asked(stack: Stack) -> dict[str, str]:
    """Create responses; return their inputs by ID."""
    with stack.client() as client:
        return {
            client.responses.create(
                model="small", input=order, temperature=0, max_output_tokens=TOKENS, background=True
            ).id: order
            for order in [f"Write sentence number {n} about {TOPICS[n % len(TOPICS)]}." for n in range(RESPONSES)]
        }


def followed(stack: Stack, response_id: str, seed: int) -> list[stream_checker.Event]:
    """The events of a response, read by a client that loses its connection repeatedly."""
    chance = random.Random(seed)
    events: list[stream_checker.Event] = []
    while not events or events[-1]["type"] not in stream_checker.TERMINAL:
        after = len(events) - 1
        path = f"/v1/responses/{response_id}?stream=true" + (f"&starting_after={after}" if events else "")
        with stream_checker.reading(stack.port, stack.key, path, after=after, timeout_s=60) as reader:
            events += reader.read(chance.randrange(3, 15))  # asserts that no event is missing or repeated
    return events


def texts(stack: Stack, ids: dict[str, str]) -> dict[str, str]:
    with stack.client() as client:
        return {order: client.responses.retrieve(one).output_text for one, order in ids.items()}


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_texts_at_temperature_0_are_those_of_runs_that_nobody_disturbed(stack: Stack) -> None:
    seed = int(os.environ.get("SEED", random.randrange(2**32)))  # noqa: TID251
    print(f"seed {seed}")
    chance = random.Random(seed)
    invariants.watch_ends(stack)
    stack.up()
    calm = asked(stack)
    until(stack.all_ended, within_s=600)
    stormy = asked(stack)
    readers = ThreadPoolExecutor(RESPONSES)
    streams = {one: readers.submit(followed, stack, one, chance.randrange(2**32)) for one in stormy}
    kills = 0
    said = "select coalesce(sum(tokens), 0) from response_events"
    while not stack.all_ended():
        enough = stack.sql(said)[0][0] + chance.randrange(5, 60)
        until(lambda enough=enough: stack.all_ended() or stack.sql(said)[0][0] >= enough, within_s=120)
        stack.freeze("worker")  # so that it claims nothing between the query and the kill
        if stack.sql("select 1 from responses where status = 'in_progress' and failures > 1"):
            stack.thaw("worker")
            continue  # a third loss would end the response
        stack.kill("worker")
        stack.start("worker")
        kills += 1
    for one, stream in streams.items():
        ((document,),) = stack.sql("select document from responses where id = %s", one)
        stream_checker.check(stream.result(60), json.loads(document))
    readers.shutdown()
    invariants.check(stack, calm.keys() | stormy.keys())

    went_on, twice = stack.sql(
        "select count(*) filter (where attempt = 2), count(*) filter (where attempt > 2) from attempts"
    )[0]
    undisturbed, disturbed = texts(stack, calm), texts(stack, stormy)
    same = sum(disturbed[order] == text for order, text in undisturbed.items())
    print(
        f"{RESPONSES} responses, {kills} workers killed, {went_on} went on by another worker, {twice} by a third; {same} texts the same"
    )
    assert went_on > RESPONSES / 5
    assert disturbed == undisturbed
