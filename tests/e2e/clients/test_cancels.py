"""A cancel at any point ends the response immediately: for the client, for streams and for the model server."""

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import openai
import psycopg
import pytest

from tests import invariants, stream_checker
from tests.conftest import new_database
from tests.harness import file_server
from tests.harness.file_server import FileReply, FileServer
from tests.harness.stack import Stack
from tests.harness.waiting import until
from tests.model_server import ModelServer

SCHEMA = {"type": "json_schema", "name": "numbers", "schema": {"type": "object"}}
TOOL = {"type": "function", "name": "look", "parameters": {"type": "object"}, "strict": False}
CALL = {"name": "look", "arguments": '{"where": "everywhere", "how": "twice"}'}
LONG_SCRIPT = {"tokens": 500, "delay_s": 0.03}


class Scene:
    """One response that is cancelled at a point of its life."""

    def __init__(self, stack: Stack, files: FileServer, point: "Point") -> None:
        self.stack = stack
        self.files = files
        self.point = point
        self.id = ""

    def create(self, client: openai.OpenAI, **fields: Any) -> str:
        script = ModelServer.script(tag=self.point.label, **self.point.script)
        return client.responses.create(
            **{"model": "scripted", "input": script, "background": True} | self.point.fields | fields
        ).id

    def row(self, columns: str) -> tuple[Any, ...]:
        (row,) = self.stack.sql(f"select {columns} from responses where id = %s", self.id)
        return row

    def has_event(self, type_prefix: str, attempt: int = 1) -> bool:
        """Whether this attempt or a later one has committed an event of a type with this prefix."""
        rows = self.stack.sql(
            "select data from response_events where response_id = %s and attempt >= %s", self.id, attempt
        )
        event_types = [json.loads(line)["type"] for (lines,) in rows for line in lines.split("\n")]
        return any(event_type.startswith(type_prefix) for event_type in event_types)

    def runs(self) -> list[dict[str, Any]]:
        """The records of the requests that the model server has received for the response."""
        return self.stack.models.stats(self.point.label)["by_tag"].get(self.point.label, [])

    @contextmanager
    def freeze(self, *names: str) -> Iterator[None]:
        """Suspend processes for the duration of the block."""
        pids = [self.stack.children[name].pid for name in names]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def expire_lease(self) -> None:
        self.stack.sql("update responses set lease_until = now() - interval '1 s' where id = %s", self.id)


SceneContext = Callable[[Scene], AbstractContextManager[Any]]


@dataclass(frozen=True)
class Point:
    """A point of a response's life.

    Args:
        script: script of the model server.
        is_reached: returns a true value if the response is at this point.
        outer_context: context that begins before the create request and ends after the cancel.
        inner_context: context that begins when the point is reached and ends after the cancel.
        fields: fields of the create request.
        output: types and statuses of the final output items; None if they depend on timing.
        reaches_server: whether the model server receives a request.
        final_statuses: statuses in which the response may end.
    """

    label: str
    script: dict[str, Any] = field(default_factory=lambda: LONG_SCRIPT)
    is_reached: Callable[[Scene], object] = lambda _: True
    outer_context: SceneContext = lambda _: nullcontext()
    inner_context: SceneContext = lambda _: nullcontext()
    fields: dict[str, Any] = field(default_factory=dict)
    output: list[tuple[str, str]] | None = None
    reaches_server: bool = True
    final_statuses: frozenset[str] = frozenset({"cancelled"})


@contextmanager
def full_concurrency(scene: Scene) -> Iterator[None]:
    """Another response uses the model's `concurrency` of 1."""
    with scene.stack.client() as client:
        blocker = client.responses.create(
            model="narrow", input=ModelServer.script(tag="narrow", **LONG_SCRIPT), background=True
        )
        until(lambda: client.responses.retrieve(blocker.id).status == "in_progress")
        yield
        client.responses.cancel(blocker.id)


@contextmanager
def stalled_input_file(scene: Scene) -> Iterator[None]:
    """The worker waits for the last byte of an input file."""
    file = {"type": "input_file", "file_url": f"{scene.files.url}/notes.txt"}
    scene.files.replies["/notes.txt"] = FileReply(b"some notes", "text/plain", stalls=True)
    script = {"type": "input_text", "text": ModelServer.script(tag=scene.point.label)}
    scene.point.fields["input"] = [{"role": "user", "content": [script, file]}]
    yield
    scene.files.closing.set()


@contextmanager
def lost_lease(scene: Scene) -> Iterator[None]:
    """The lease has expired while the worker and the sweeper are frozen."""
    with scene.freeze("worker", "sweeper"):
        scene.expire_lease()
        yield


@contextmanager
def requeued_response(scene: Scene) -> Iterator[None]:
    with scene.freeze("worker"):
        scene.expire_lease()
        until(lambda: scene.row("status, failures") == ("queued", 1))
        yield


@contextmanager
def second_attempt_without_output(scene: Scene) -> Iterator[None]:
    with requeued_response(scene):
        pass
    until(lambda: len(scene.runs()) == 2)
    assert not scene.has_event("", attempt=2)
    yield


@contextmanager
def second_attempt_with_output(scene: Scene) -> Iterator[None]:
    with requeued_response(scene):
        pass
    until(lambda: scene.has_event("response.output_text.delta", attempt=2))
    yield


@contextmanager
def blocked_end(scene: Scene) -> Iterator[None]:
    """The transaction that ends the response is blocked until the cancel waits for it."""
    waiting_query = (
        "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    )
    with psycopg.connect(scene.stack.database_url) as blocker, ThreadPoolExecutor(1) as thread:
        blocker.execute("lock table items in share mode")
        until(lambda: scene.stack.sql(waiting_query) == [(1,)])

        def release() -> None:
            until(lambda: scene.stack.sql(waiting_query) == [(2,)], timeout_s=1.5)
            blocker.rollback()

        release_result = thread.submit(release)
        yield
        release_result.result()


@contextmanager
def killed_redis(scene: Scene) -> Iterator[None]:
    scene.stack.kill("valkey")
    yield
    until(lambda: all(run["ended"] for run in scene.runs()))  # the worker finds the cancel in Postgres
    scene.stack.start("valkey")
    with scene.stack.client() as client:
        later_response = client.responses.create(model="scripted", input="hello", background=True)
        until(lambda: client.responses.retrieve(later_response.id).status == "completed", timeout_s=15)


@contextmanager
def stopping_worker(scene: Scene) -> Iterator[None]:
    """The worker is stopping and finishes its runs."""
    worker = scene.stack.children["worker"]
    worker.send_stop_signal()
    until(lambda: scene.stack.sql("select slots from workers") == [(0,)])
    assert worker.ended() is None
    yield
    worker.wait_until_stopped()
    scene.stack.start("worker")


@contextmanager
def stopped_worker(scene: Scene) -> Iterator[None]:
    """The worker has stopped, and the response that it has handed back waits for another worker."""
    scene.stack.stop("worker")
    assert scene.row("status, failures") == ("queued", 0)
    yield
    scene.stack.start("worker")


def is_running(scene: Scene) -> bool:
    return scene.has_event("response.in_progress")


def has_text(scene: Scene) -> bool:
    return scene.has_event("response.output_text.delta")


OPEN_TEXT = [("message", "incomplete")]
NO_OUTPUT: list[tuple[str, str]] = []
CANCELLED_OR_COMPLETED = frozenset({"cancelled", "completed"})
POINTS = [
    Point("immediately after the create request", final_statuses=CANCELLED_OR_COMPLETED, script={"tokens": 1}),
    Point("waiting for capacity", fields={"model": "narrow"}, outer_context=full_concurrency, output=NO_OUTPUT,
          reaches_server=False, is_reached=lambda scene: scene.row("status, dispatched_at") == ("queued", None)),
    Point("enqueued for a frozen worker", outer_context=lambda scene: scene.freeze("worker"), output=NO_OUTPUT,
          reaches_server=False,
          is_reached=lambda scene: scene.row("status, dispatched_at is null") == ("queued", False)),
    Point("claimed, while fetching a file", outer_context=stalled_input_file, output=NO_OUTPUT, reaches_server=False,
          is_reached=lambda scene: scene.files.request_log),
    Point("before the headers", {"status": 503, "first_delay_s": 30}, lambda scene: scene.runs(), output=NO_OUTPUT),
    Point("after the headers, before the first byte", LONG_SCRIPT | {"first_delay_s": 30},
          lambda scene: scene.runs() and is_running(scene), output=NO_OUTPUT),
    Point("in progress", LONG_SCRIPT | {"first_delay_s": 0.2}, is_running),
    Point("after the first delta", {"tokens": 9, "hang_after_tokens": 1}, has_text, output=OPEN_TEXT),
    Point("in the middle of a text", LONG_SCRIPT, lambda scene: scene.runs() and scene.runs()[0]["tokens_sent"] > 9,
          output=OPEN_TEXT),
    Point("in the middle of the reasoning",
          {"tokens": 5, "reasoning": "let me see now", "hang_after_reasoning_words": 2},
          lambda scene: scene.has_event("response.reasoning_text.delta"), output=[("reasoning", "incomplete")]),
    Point("between the reasoning and the text", {"tokens": 5, "reasoning": "I see", "hang_after_tokens": 0},
          lambda scene: scene.has_event("response.output_item.done"), fields={"model": "native"}),
    Point("in the middle of a call's arguments", {"tool_calls": [CALL], "text": "I look ", "hang_after_tokens": 4},
          lambda scene: has_text(scene) and scene.runs()[0]["tokens_sent"] == 4, fields={"tools": [TOOL]}),
    Point("between two calls", {"tool_calls": [CALL, CALL], "text": "I look ", "hang_after_tokens": 7},
          lambda scene: has_text(scene) and scene.runs()[0]["tokens_sent"] == 7, fields={"tools": [TOOL]}),
    Point("in the middle of a JSON text", {"text": '{"numbers": [1, 2, 3, 4, 5, 6]}', "hang_after_tokens": 4}, has_text,
          fields={"text": {"format": SCHEMA}}, output=OPEN_TEXT),
    Point("in the middle of a text of a Responses server", LONG_SCRIPT, has_text, fields={"model": "native"},
          output=OPEN_TEXT),
    Point("waiting in its slot after a 429", {"status": 429}, lambda scene: scene.runs(), output=NO_OUTPUT),
    Point("waiting in Postgres for the model server", fields={"model": "absent"}, output=NO_OUTPUT,
          reaches_server=False, is_reached=lambda scene: scene.row("status, waits > 0") == ("queued", True)),
    Point("lease expired, not yet detected", LONG_SCRIPT, has_text, inner_context=lost_lease, output=OPEN_TEXT),
    Point("requeued after its worker was lost", LONG_SCRIPT, has_text, inner_context=requeued_response,
          output=OPEN_TEXT),
    Point("second attempt without new output", {"tokens": 50, "first_delay_s": 1.5, "hang_after_tokens": 2}, has_text,
          inner_context=second_attempt_without_output, output=OPEN_TEXT),
    Point("second attempt with new output", LONG_SCRIPT, has_text,
          inner_context=second_attempt_with_output, output=OPEN_TEXT),
    Point("with a frozen worker", LONG_SCRIPT, has_text, inner_context=lambda scene: scene.freeze("worker"),
          output=OPEN_TEXT),
    Point("with a frozen sweeper", LONG_SCRIPT, has_text, inner_context=lambda scene: scene.freeze("sweeper"),
          output=OPEN_TEXT),
    Point("during the transaction that ends the response", {"tokens": 20, "delay_s": 0.03}, has_text, inner_context=blocked_end,
          final_statuses=frozenset({"completed"})),
    Point("ended", {"tokens": 3}, lambda scene: scene.row("status") == ("completed",),
          final_statuses=frozenset({"completed"})),
    Point("without Redis", LONG_SCRIPT, has_text, inner_context=killed_redis, output=OPEN_TEXT),
    Point("with a stopping worker", LONG_SCRIPT, has_text, inner_context=stopping_worker, output=OPEN_TEXT),
    Point("handed back by a stopped worker", LONG_SCRIPT, has_text, inner_context=stopped_worker, output=OPEN_TEXT),
]  # fmt: skip


@pytest.fixture(scope="module")
def files() -> Iterator[FileServer]:
    with file_server.running() as server:
        yield server


@pytest.fixture(scope="module")
def stack(
    postgres_url: str, template: str, _model_server: ModelServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """One stack for all points; at the end, every accepted response must have ended once, with a complete log."""
    home = tmp_path_factory.mktemp("cancels")
    _model_server.reset()
    timeouts = "timeouts = { first_token = 40, idle = 40, run = 60 }"
    (home / "backburner.toml").write_text(f"""
[models.scripted]
base_url = "{_model_server.base_url}"
{timeouts}
[models.narrow]
base_url = "{_model_server.base_url}"
concurrency = 1
[models.native]
base_url = "{_model_server.base_url}"
api = "responses"
{timeouts}
[models.absent]
base_url = "http://127.0.0.1:9/v1"
""")
    database_url = new_database(postgres_url, template)
    with Stack(home / "home", database_url, home / "backburner.toml", _model_server) as stack:
        invariants.watch_ends(stack)
        stack.up(FETCH_ALLOW_PRIVATE="1", WAIT_BETWEEN_S="15")
        yield stack
        until(stack.all_ended)
        invariants.check_responses(stack, {row[0] for row in stack.sql("select id from responses")})


class StreamReader:
    """A thread that reads a response's stream from the first event to the last."""

    def __init__(self, stack: Stack, response_id: str) -> None:
        self.raw = b""
        self.events: list[stream_checker.Event] = []
        self._stack = stack
        self._path = f"/v1/responses/{response_id}?stream=true"
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        with stream_checker.open_event_stream(self._stack.port, self._stack.key, self._path) as reader:
            self.events = reader.read()
            self.raw = reader.raw

    def wait_for_end(self) -> "StreamReader":
        self._thread.join(15)
        assert not self._thread.is_alive(), "the stream does not end"
        assert self.events, "the stream was not read to its end"
        return self


@pytest.mark.parametrize("point", POINTS, ids=[point.label for point in POINTS])
def test_a_cancel_at_any_point_of_a_response_is_immediate_and_final(
    stack: Stack, files: FileServer, point: Point
) -> None:
    scene = Scene(stack, files, point)
    with stack.client() as client:
        with point.outer_context(scene):
            scene.id = scene.create(client)
            reader = StreamReader(stack, scene.id)
            until(lambda: point.is_reached(scene))
            with point.inner_context(scene):
                cancelled_response = client.responses.cancel(scene.id)

                # The response has ended simultaneously for every observer.
                assert cancelled_response.status in point.final_statuses
                events = reader.wait_for_end().events
                assert events[-1]["response"]["status"] == cancelled_response.status
                assert client.responses.retrieve(scene.id) == cancelled_response
        until(lambda: all(run["ended"] for run in scene.runs()))
        until(lambda: not stack.sql("select 1 from attempts where response_id = %s and ended_at is null", scene.id))

        # The end is final: the worker has noticed it and has written nothing more.
        assert client.responses.retrieve(scene.id) == client.responses.cancel(scene.id) == cancelled_response
    assert StreamReader(stack, scene.id).wait_for_end().raw == reader.raw
    if point.final_statuses == {"cancelled"}:
        # A model server may send an error status before it notices that the client has disconnected.
        assert {run["outcome"] for run in scene.runs()} <= {
            "client_closed",
            *(["errored"] if "status" in point.script else []),
        }
        assert bool(scene.runs()) == point.reaches_server
        assert cancelled_response.error is None
        if point.output is not None:
            assert [(item.type, item.status) for item in cancelled_response.output] == point.output


def test_a_cancel_of_a_foreground_response_is_rejected_and_the_response_completes(stack: Stack) -> None:
    with stack.client() as client, ThreadPoolExecutor(1) as thread:
        script = ModelServer.script(tag="foreground", tokens=30, delay_s=0.03)
        request = thread.submit(client.responses.create, model="scripted", input=script)
        ((response_id,),) = until(
            lambda: stack.sql("select id from responses where not background and status = 'in_progress'")
        )

        with pytest.raises(openai.BadRequestError, match="Cannot cancel a synchronous response"):
            client.responses.cancel(response_id)

        assert request.result().status == "completed"


def test_concurrent_cancels_return_the_same_response(stack: Stack) -> None:
    with stack.client() as client, ThreadPoolExecutor(8) as threads:
        response = client.responses.create(
            model="scripted", input=ModelServer.script(tag="many", **LONG_SCRIPT), background=True
        )
        until(lambda: client.responses.retrieve(response.id).output_text)

        responses = list(threads.map(client.responses.cancel, [response.id] * 8))

        assert all(response == responses[0] for response in responses)
        assert responses[0].status == "cancelled"
