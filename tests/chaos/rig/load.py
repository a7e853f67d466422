"""A mixed load of patient clients: each creates one response and follows it to its end, whatever breaks."""

import http.client
import itertools
import json
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import openai

from tests import stream_checker
from tests.harness.stack import Stack
from tests.model_server import ModelServer
from tests.stream_checker import Refused, reading

T = TypeVar("T")

RESPONSES = "/v1/responses"
ARGUMENTS = json.dumps({"town": "Bern", "words": [f"w{number}" for number in range(6)]})
TOOL = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}
SCHEMA = {"format": {"type": "json_schema", "name": "town", "schema": {"type": "object"}}}
# The kinds of requests, in proportions of twenty.
KINDS = ("background",) * 6 + ("streamed",) * 6 + ("foreground",) * 3 + ("cancelled",) * 3 + ("tools", "json")
# Seconds without data after which a client retries.
PATIENCE_S = 5.0
GIVES_UP_AFTER_S = 90.0
ENDED = {"completed", "incomplete", "failed", "cancelled"}


@dataclass
class Asked:
    """One response that a client requests, and its outcome as seen by the client."""

    number: int
    kind: str
    body: dict[str, Any]
    text: str  # the output of an undisturbed run
    key: str
    seed: int
    id: str | None = None
    events: list[stream_checker.Event] = field(default_factory=list)
    document: dict[str, Any] | None = None  # the last one returned by a create or a poll
    refused: str | None = None  # code of the HTTP error that ended the request
    connections: int = 0


def requests(chance: random.Random, run: str, kinds: tuple[str, ...] = KINDS, **script: Any) -> Iterator[Asked]:
    """Generate requests of mixed kinds without end.

    Args:
        script: fields added to all scripts; `tokens` and `delay_s` replace the usual values.
    """
    for number in itertools.count():
        kind = kinds[number % len(kinds)]
        said = {"tag": f"{run}-{number}", "delay_s": 0.08} | script
        fields: dict[str, Any] = {"background": kind != "foreground"}
        tokens = said.pop("tokens", None) or chance.randrange(25, 55)
        text = "".join(f"tok{one} " for one in range(tokens))
        if kind == "json":
            text, fields["text"] = json.dumps({"words": ["w " * 3] * (tokens // 4)}), SCHEMA
            said |= {"text": text}
        elif kind == "tools":
            text, fields["tools"] = "Let me look. " * (tokens // 4), [TOOL]
            said |= {"text": text, "tool_calls": [{"name": "f", "arguments": ARGUMENTS}]}
        else:
            said |= {"tokens": tokens}
        body = {
            "model": "scripted",
            "input": ModelServer.script(**said),
            "metadata": {"run": run, "number": str(number)},
        } | fields
        yield Asked(number, kind, body, text, key=f"{run}-{number}", seed=chance.randrange(2**32))


class Load:
    """Clients of a stack, `at_once` in parallel with one thread each; they start within one second.

    Each client takes the next request when it has finished one, until none is left.
    """

    def __init__(self, stack: Stack, asked: Iterable[Asked], *, at_once: int, poll_s: float = 0.2) -> None:
        self.begun: list[Asked] = []
        self._next = iter(asked)
        self._lock = threading.Lock()
        self._stack = stack
        self._poll_s = poll_s
        self._stopped = threading.Event()
        self._enough = threading.Event()
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="load")
        self._clients = [
            openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=stack.key, max_retries=0, timeout=PATIENCE_S)
            for port in (stack.port, stack.port_2)
        ]
        self._done: list[Future[None]] = [self._threads.submit(self._take_all, number) for number in range(at_once)]

    def begin_no_more(self) -> None:
        """Let the clients finish their current requests, without starting new ones."""
        self._enough.set()

    def stop(self) -> None:
        """Stop all clients."""
        self._stopped.set()
        self._threads.shutdown()
        for client in self._clients:
            client.close()

    def wait(self, within_s: float) -> None:
        """Wait until every client has finished; re-raise assertions that failed in the clients' threads."""
        deadline = time.monotonic() + within_s
        try:
            for future in self._done:
                future.result(max(0.0, deadline - time.monotonic()))
        finally:
            self.stop()

    def _take_all(self, number: int) -> None:
        self._stopped.wait(random.Random(number).random())
        while not self._stopped.is_set() and not self._enough.is_set():
            with self._lock:
                asked = next(self._next, None)
                if asked is None:
                    return
                self.begun.append(asked)
            self._take(asked)

    def _take(self, asked: Asked) -> None:
        chance = random.Random(asked.seed)
        match asked.kind:
            case "streamed":
                self._read(asked, chance)
            case "foreground":
                self._wait_for(asked, chance)
            case _:
                self._poll(asked, chance)

    def _poll(self, asked: Asked, chance: random.Random) -> None:
        self._create(asked, chance)
        if asked.kind == "cancelled":
            self._stopped.wait(chance.random() * 3)
            self._until_answered(chance, lambda client: client.responses.cancel(asked.id))  # type: ignore[arg-type]
        self._poll_to_the_end(asked, chance)

    def _create(self, asked: Asked, chance: random.Random) -> None:
        made = self._until_answered(
            chance, lambda client: client.responses.create(**asked.body, extra_headers={"Idempotency-Key": asked.key})
        )
        asked.id = made.id
        asked.document = made.model_dump(mode="json")

    def _poll_to_the_end(self, asked: Asked, chance: random.Random) -> None:
        while asked.document is None or asked.document["status"] not in ENDED:
            if self._stopped.wait(self._poll_s):
                return
            raw = self._until_answered(
                chance,
                lambda client: client.responses.with_raw_response.retrieve(asked.id).content,  # type: ignore[arg-type]
            )
            asked.document = json.loads(raw)

    def _wait_for(self, asked: Asked, chance: random.Random) -> None:
        try:
            raw = self._until_answered(
                chance,
                lambda client: (
                    client.responses.with_raw_response.create(
                        **asked.body, extra_headers={"Idempotency-Key": asked.key}
                    ).content
                ),
            )
        except openai.APIStatusError as error:
            # The response failed before the reply began; the client receives the error, but not the ID.
            asked.refused = str(error.code)
            return
        asked.document = json.loads(raw)
        asked.id = asked.document["id"]

    def _read(self, asked: Asked, chance: random.Random) -> None:
        """Read the stream of a create, disconnect at random events, and resume after the last event."""
        leaves = chance.randrange(1, 6)
        while not asked.events or asked.events[-1]["type"] not in stream_checker.TERMINAL:
            if self._stopped.is_set():
                return
            after = asked.events[-1]["sequence_number"] if asked.events else -1
            body, path = None, f"{RESPONSES}/{asked.id}?stream=true&starting_after={after}"
            if asked.id is None:
                body, path = asked.body | {"stream": True}, RESPONSES
            count = chance.randrange(1, 9) if asked.connections < leaves else None
            asked.connections += 1
            try:
                with reading(
                    chance.choice((self._stack.port, self._stack.port_2)),
                    self._stack.key,
                    path,
                    body,
                    after=after,
                    timeout_s=PATIENCE_S,
                    idempotency_key=asked.key if body else None,
                ) as stream:
                    asked.events += stream.read(count)
            except Refused as refused:
                if refused.status != 503:
                    raise
                self._stopped.wait(0.2)
            except (OSError, http.client.HTTPException):
                self._stopped.wait(0.2)
            if asked.events:
                asked.id = asked.events[0]["response"]["id"]

    def _until_answered(self, chance: random.Random, call: Callable[[openai.OpenAI], T]) -> T:
        """Repeat a call, on either API, until the reply is not a request to retry."""
        deadline = time.monotonic() + GIVES_UP_AFTER_S
        while True:
            try:
                return call(chance.choice(self._clients))
            except (openai.APIConnectionError, openai.InternalServerError, json.JSONDecodeError) as error:
                final = isinstance(error, openai.InternalServerError) and error.status_code != 503
                if final or time.monotonic() > deadline or self._stopped.wait(0.2):
                    raise


def untrue(asked: Asked, final: dict[str, Any], allowed: set[str]) -> Iterator[str]:
    """False statements made to a client.

    Args:
        final: the stored document.
        allowed: statuses in which a response may end that no client cancels.
    """
    status = final["status"]
    if status not in allowed | ({"cancelled", "completed"} if asked.kind == "cancelled" else set()):
        yield f"{asked.kind} {final['id']} ended {status}: {final['error']}"
    said = "".join(part["text"] for item in final["output"] if item["type"] == "message" for part in item["content"])
    calls = [item["arguments"] for item in final["output"] if item["type"] == "function_call"]
    if status == "completed" and (said != asked.text or calls != ([ARGUMENTS] if asked.kind == "tools" else [])):
        yield f"{asked.kind} {final['id']} completed with {said!r} and {calls}"
    if not asked.text.startswith(said):
        yield f"{asked.kind} {final['id']} says what it was never told: {said!r}"
    if asked.document is not None and asked.document["status"] in ENDED and asked.document["output"] != final["output"]:
        yield f"{asked.kind} {final['id']} was answered otherwise than it is stored"
    if asked.refused is not None and status not in {"failed", "cancelled"}:
        yield f"{asked.kind} {final['id']} was refused with {asked.refused} and is {status}"
