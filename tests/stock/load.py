"""Clients that create background responses and poll them to the end, and their results."""

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import openai

from tests.harness.waiting import until
from tests.stock.deployment import StockStack

# The first 16 hit the model's `concurrency` of 12, the last 8 the project's `running` limit of 4.
CLIENTS = ("narrow",) * 16 + ("scripted",) * 8
POLL_EVERY_S = 0.1
# A response takes 1 s on the model server: long enough for both queues to fill even on a busy machine.
TOKENS, DELAY_S = 5, 0.25
WITHIN_S = 20


@dataclass
class Outcome:
    """The results as seen by the clients.

    Args:
        refused: number of error replies, by call and status.
    """

    created: int = 0
    completed: int = 0
    refused: Counter[str] = field(default_factory=Counter)


def run(stack: StockStack, duration_s: float, *, completions: int = 0) -> Outcome:
    """Let all clients create and poll, each one response at a time, for a time and until so many have completed.

    A slow machine needs longer for the completions; after `WITHIN_S` the load ends without them.
    """
    began_at = time.monotonic()
    outcomes = [Outcome() for _ in CLIENTS]

    def enough() -> bool:
        spent_s = time.monotonic() - began_at
        completed = sum(outcome.completed for outcome in outcomes)
        return spent_s > duration_s and (completed >= completions or spent_s > WITHIN_S)

    with stack.client() as client, ThreadPoolExecutor(len(CLIENTS)) as threads:
        started = [
            threads.submit(_client, client, stack, model, enough, outcome)
            for model, outcome in zip(CLIENTS, outcomes, strict=True)
        ]
    for one in started:
        one.result()
    return Outcome(
        sum(outcome.created for outcome in outcomes),
        sum(outcome.completed for outcome in outcomes),
        sum((outcome.refused for outcome in outcomes), Counter()),
    )


def _client(client: openai.OpenAI, stack: StockStack, model: str, enough: Callable[[], bool], outcome: Outcome) -> None:
    script = stack.models.script(tokens=TOKENS, delay_s=DELAY_S)

    def completed(response_id: str) -> bool:
        try:
            status = client.responses.retrieve(response_id).status
        except openai.APIStatusError as error:
            outcome.refused[f"poll {error.status_code}"] += 1
            return False
        outcome.completed += status == "completed"
        return status not in {"queued", "in_progress"} or enough()

    while not enough():
        try:
            made = client.responses.create(model=model, input=script, background=True)
        except openai.APIStatusError as error:
            outcome.refused[f"create {error.status_code}"] += 1
            continue
        outcome.created += 1
        until(lambda: completed(made.id), within_s=60, every_s=POLL_EVERY_S)
