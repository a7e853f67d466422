"""A mixed load of clients that create responses, read or poll them to the end, and retry after faults."""

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
from tests.stream_checker import StreamRefusedError, open_event_stream

T = TypeVar("T")

RESPONSES_PATH = "/v1/responses"
ARGUMENTS = json.dumps({"town": "Bern", "words": [f"w{number}" for number in range(6)]})
TOOL = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}
SCHEMA = {"format": {"type": "json_schema", "name": "town", "schema": {"type": "object"}}}
# The kinds of twenty consecutive requests.
KINDS = ("background",) * 6 + ("streamed",) * 6 + ("foreground",) * 3 + ("cancelled",) * 3 + ("tools", "json")
# Seconds without data after which a client retries, and the maximum duration of the retries of a call.
READ_TIMEOUT_S = 5.0
RETRY_TIMEOUT_S = 90.0
ENDED = {"completed", "incomplete", "failed", "cancelled"}


@dataclass
class Request:
    """A request of one client, and the replies that the client received."""

    number: int
    kind: str
    body: dict[str, Any]
    expected_text: str  # the output text of a run without faults
    idempotency_key: str
    seed: int  # determines the random behavior of the client
    id: str | None = None  # the ID of the response
    events: list[stream_checker.Event] = field(default_factory=list)
    document: dict[str, Any] | None = None  # the last document that a create request or a poll returned
    error_code: str | None = None  # the code of the HTTP error that ended the request
    connection_count: int = 0  # the number of connections of a streamed request


def generate_requests(
    rng: random.Random, run_id: str, kinds: tuple[str, ...] = KINDS, model: str = "scripted", **script: Any
) -> Iterator[Request]:
    """Generate an endless sequence of requests of these kinds.

    Args:
        run_id: prefix of the tags, which the model server uses to identify requests.
        script: fields to add to all scripts; `tokens` and `delay_s` replace the default values.
    """
    for number in itertools.count():
        kind = kinds[number % len(kinds)]
        script_fields = {"tag": f"{run_id}-{number}", "delay_s": 0.08} | script
        fields: dict[str, Any] = {"background": kind != "foreground"}
        tokens = script_fields.pop("tokens", None) or rng.randrange(25, 55)
        text = "".join(f"tok{index} " for index in range(tokens))
        if kind == "json":
            text, fields["text"] = json.dumps({"words": ["w " * 3] * (tokens // 4)}), SCHEMA
            script_fields |= {"text": text}
        elif kind == "tools":
            text, fields["tools"] = "Let me look. " * (tokens // 4), [TOOL]
            script_fields |= {"text": text, "tool_calls": [{"name": "f", "arguments": ARGUMENTS}]}
        else:
            script_fields |= {"tokens": tokens}
        body = {
            "model": model,
            "input": ModelServer.script(**script_fields),
            "metadata": {"run": run_id, "number": str(number)},
        } | fields
        yield Request(number, kind, body, text, idempotency_key=f"{run_id}-{number}", seed=rng.randrange(2**32))


class Load:
    """Concurrent clients of a stack, each in its own thread; they start within one second.

    A client that has finished a request takes the next request, until no request is left.

    Args:
        poll_s: the time between two polls of a client.
    """

    def __init__(self, stack: Stack, requests: Iterable[Request], *, client_count: int, poll_s: float = 0.2) -> None:
        self.started_requests: list[Request] = []
        self._requests = iter(requests)
        self._lock = threading.Lock()
        self._stack = stack
        self._poll_s = poll_s
        self._stopped = threading.Event()
        self._no_new_requests = threading.Event()
        self._threads = ThreadPoolExecutor(client_count, thread_name_prefix="load")
        self._apis = [
            openai.OpenAI(
                base_url=f"http://127.0.0.1:{port}/v1", api_key=stack.key, max_retries=0, timeout=READ_TIMEOUT_S
            )
            for port in (stack.port, stack.port_2)
        ]
        self._futures: list[Future[None]] = [
            self._threads.submit(self._run_client, seed) for seed in range(client_count)
        ]

    def stop_new_requests(self) -> None:
        """Start no more requests; the clients finish those that they have started."""
        self._no_new_requests.set()

    def stop(self) -> None:
        """Stop all clients, even in the middle of their requests."""
        self._stopped.set()
        self._threads.shutdown()
        for client in self._apis:
            client.close()

    def wait(self, timeout_s: float) -> None:
        """Wait until every client has finished; re-raise assertions that failed in the clients' threads."""
        deadline = time.monotonic() + timeout_s
        try:
            for future in self._futures:
                future.result(max(0.0, deadline - time.monotonic()))
        finally:
            self.stop()

    def _run_client(self, seed: int) -> None:
        self._stopped.wait(random.Random(seed).random())
        while not self._stopped.is_set() and not self._no_new_requests.is_set():
            with self._lock:
                request = next(self._requests, None)
                if request is None:
                    return
                self.started_requests.append(request)
            self._send(request)

    def _send(self, request: Request) -> None:
        rng = random.Random(request.seed)
        match request.kind:
            case "streamed":
                self._read_stream(request, rng)
            case "foreground":
                self._create_in_foreground(request, rng)
            case _:
                self._create_and_poll(request, rng)

    def _create_and_poll(self, request: Request, rng: random.Random) -> None:
        self._create(request, rng)
        if request.kind == "cancelled":
            self._stopped.wait(rng.random() * 3)
            self._call_with_retries(rng, lambda client: client.responses.cancel(request.id))  # type: ignore[arg-type]
        self._poll_until_end(request, rng)

    def _create(self, request: Request, rng: random.Random) -> None:
        response = self._call_with_retries(
            rng,
            lambda client: client.responses.create(
                **request.body, extra_headers={"Idempotency-Key": request.idempotency_key}
            ),
        )
        request.id = response.id
        request.document = response.model_dump(mode="json")

    def _poll_until_end(self, request: Request, rng: random.Random) -> None:
        while request.document is None or request.document["status"] not in ENDED:
            if self._stopped.wait(self._poll_s):
                return
            content = self._call_with_retries(
                rng,
                lambda client: (
                    client.responses.with_raw_response.retrieve(
                        request.id  # type: ignore[arg-type]
                    ).content
                ),
            )
            request.document = json.loads(content)

    def _create_in_foreground(self, request: Request, rng: random.Random) -> None:
        try:
            content = self._call_with_retries(
                rng,
                lambda client: (
                    client.responses.with_raw_response.create(
                        **request.body, extra_headers={"Idempotency-Key": request.idempotency_key}
                    ).content
                ),
            )
        except openai.APIStatusError as error:
            # The response failed before the reply began. The client receives the error without the ID.
            request.error_code = str(error.code)
            return
        request.document = json.loads(content)
        request.id = request.document["id"]

    def _read_stream(self, request: Request, rng: random.Random) -> None:
        """Create a response with a stream, disconnect after random events, and resume after the last event received."""
        disconnect_count = rng.randrange(1, 6)
        while not request.events or request.events[-1]["type"] not in stream_checker.TERMINAL:
            if self._stopped.is_set():
                return
            last_seq = request.events[-1]["sequence_number"] if request.events else -1
            body, path = None, f"{RESPONSES_PATH}/{request.id}?stream=true&starting_after={last_seq}"
            if request.id is None:
                body, path = request.body | {"stream": True}, RESPONSES_PATH
            event_count = rng.randrange(1, 9) if request.connection_count < disconnect_count else None
            request.connection_count += 1
            try:
                with open_event_stream(
                    rng.choice((self._stack.port, self._stack.port_2)),
                    self._stack.key,
                    path,
                    body,
                    after=last_seq,
                    timeout_s=READ_TIMEOUT_S,
                    idempotency_key=request.idempotency_key if body else None,
                ) as stream:
                    request.events += stream.read(event_count)
            except StreamRefusedError as error:
                if error.status != 503:
                    raise
                self._stopped.wait(0.2)
            except (OSError, http.client.HTTPException):
                self._stopped.wait(0.2)
            if request.events:
                request.id = request.events[0]["response"]["id"]

    def _call_with_retries(self, rng: random.Random, call: Callable[[openai.OpenAI], T]) -> T:
        """Repeat a call, each time to a random API process, until it succeeds.

        Raises errors that clients must not retry, and any error after `RETRY_TIMEOUT_S` or `stop`.
        """
        deadline = time.monotonic() + RETRY_TIMEOUT_S
        while True:
            try:
                return call(rng.choice(self._apis))
            except (openai.APIConnectionError, openai.InternalServerError, json.JSONDecodeError) as error:
                is_final = isinstance(error, openai.InternalServerError) and error.status_code != 503
                if is_final or time.monotonic() > deadline or self._stopped.wait(0.2):
                    raise


def find_false_statements(request: Request, document: dict[str, Any], allowed_statuses: set[str]) -> Iterator[str]:
    """Compare a stored document with the script and with the replies that the client received.

    Args:
        allowed_statuses: statuses in which a response may end without a cancel.

    Yields:
        A description of each difference.
    """
    description = f"{request.kind} {document['id']}"
    status = document["status"]
    if status not in allowed_statuses | ({"cancelled", "completed"} if request.kind == "cancelled" else set()):
        yield f"{description} ended {status}: {document['error']}"
    messages = [item for item in document["output"] if item["type"] == "message"]
    text = "".join(part["text"] for item in messages for part in item["content"])
    calls = [item["arguments"] for item in document["output"] if item["type"] == "function_call"]
    if status == "completed" and (
        text != request.expected_text or calls != ([ARGUMENTS] if request.kind == "tools" else [])
    ):
        yield f"{description} completed with {text!r} and {calls}"
    if not request.expected_text.startswith(text):
        yield f"{description} contains text that the model server did not send: {text!r}"
    last_document = request.document
    if last_document is not None and last_document["status"] in ENDED and last_document["output"] != document["output"]:
        yield f"{description} was returned with an output other than the stored one"
    if request.error_code is not None and status not in {"failed", "cancelled"}:
        yield f"{description} was refused with {request.error_code} and is {status}"
