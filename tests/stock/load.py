"""Clients that create responses in the background and poll them to their end, and what became of them."""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import openai

from tests.stock.deployment import StockStack
from tests.waiting import until

# The first 16 meet the model's `concurrency` of 12, the last 8 the project's limit of 4 running.
CLIENTS = ("narrow",) * 16 + ("scripted",) * 8
POLL_EVERY_S = 0.1
# A response takes 1 s on the model server: long enough for both queues to fill on a busy machine, too.
TOKENS, DELAY_S = 5, 0.25


@dataclass
class Outcome:
    """What the clients saw.

    Args:
        refused: how many calls were answered with each error, by call and status.
    """

    created: int = 0
    completed: int = 0
    refused: Counter[str] = field(default_factory=Counter)


def run(stack: StockStack, duration_s: float) -> Outcome:
    """Have all clients create and poll for so long, each one response at a time."""
    ends_at = time.monotonic() + duration_s
    outcome = Outcome()
    with stack.client() as client, ThreadPoolExecutor(len(CLIENTS)) as threads:
        for done in [threads.submit(_client, client, stack, model, ends_at) for model in CLIENTS]:
            found = done.result()
            outcome.created += found.created
            outcome.completed += found.completed
            outcome.refused += found.refused
    return outcome


def _client(client: openai.OpenAI, stack: StockStack, model: str, ends_at: float) -> Outcome:
    outcome = Outcome()
    script = stack.models.script(tokens=TOKENS, delay_s=DELAY_S)

    def completed(response_id: str) -> bool:
        try:
            status = client.responses.retrieve(response_id).status
        except openai.APIStatusError as error:
            outcome.refused[f"poll {error.status_code}"] += 1
            return False
        outcome.completed += status == "completed"
        return status not in {"queued", "in_progress"} or time.monotonic() > ends_at

    while time.monotonic() < ends_at:
        try:
            made = client.responses.create(model=model, input=script, background=True)
        except openai.APIStatusError as error:
            outcome.refused[f"create {error.status_code}"] += 1
            continue
        outcome.created += 1
        until(lambda: completed(made.id), within_s=60, every_s=POLL_EVERY_S)
    return outcome
