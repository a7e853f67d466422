"""A cancel at any point of a response's life: one end, at once, for the client, its streams and the model server."""

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
from tests.harness.file_server import FileServer, Given
from tests.harness.stack import Stack
from tests.harness.waiting import until
from tests.model_server import ModelServer

SCHEMA = {"type": "json_schema", "name": "numbers", "schema": {"type": "object"}}
TOOL = {"type": "function", "name": "look", "parameters": {"type": "object"}, "strict": False}
CALL = {"name": "look", "arguments": '{"where": "everywhere", "how": "twice"}'}
LONG = {"tokens": 500, "delay_s": 0.03}


class Scene:
    """One response on its way to the point at which it is cancelled."""

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

    def log(self) -> list[stream_checker.Event]:
        return self.stack.log_of(self.id)

    def said(self, kind: str, attempt: int = 1) -> bool:
        """Whether this attempt or a later one has committed an event whose type begins with `kind`."""
        rows = self.stack.sql(
            "select data from response_events where response_id = %s and attempt >= %s", self.id, attempt
        )
        return any(json.loads(line)["type"].startswith(kind) for row in rows for line in row[0].split("\n"))

    def runs(self) -> list[dict[str, Any]]:
        """The model server's records of its requests."""
        return self.stack.models.stats(self.point.label)["by_tag"].get(self.point.label, [])

    @contextmanager
    def frozen(self, *names: str) -> Iterator[None]:
        pids = [self.stack.children[name].pid for name in names]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def lose(self) -> None:
        """Let the lease expire."""
        self.stack.sql("update responses set lease_until = now() - interval '1 s' where id = %s", self.id)


Hook = Callable[[Scene], AbstractContextManager[Any]]


@dataclass(frozen=True)
class Point:
    """A point of a response's life.

    Args:
        script: script of the model server.
        reached: whether the response is at this point.
        around: context that applies from before the create until after the cancel.
        then: context that applies from when the point is reached until after the cancel.
        output: types and statuses of the final output items; None if they depend on timing.
        asked: whether the model server receives a request.
        ends: the statuses in which the response may end.
    """

    label: str
    script: dict[str, Any] = field(default_factory=lambda: LONG)
    reached: Callable[[Scene], object] = lambda _: True
    around: Hook = lambda _: nullcontext()
    then: Hook = lambda _: nullcontext()
    fields: dict[str, Any] = field(default_factory=dict)
    output: list[tuple[str, str]] | None = None
    asked: bool = True
    ends: frozenset[str] = frozenset({"cancelled"})


@contextmanager
def no_room(scene: Scene) -> Iterator[None]:
    with scene.stack.client() as client:
        other = client.responses.create(model="narrow", input=ModelServer.script(tag="narrow", **LONG), background=True)
        until(lambda: client.responses.retrieve(other.id).status == "in_progress")
        yield
        client.responses.cancel(other.id)


@contextmanager
def a_file_that_never_comes(scene: Scene) -> Iterator[None]:
    file = {"type": "input_file", "file_url": f"{scene.files.url}/notes.txt"}
    scene.files.paths["/notes.txt"] = Given(b"some notes", "text/plain", stalls=True)
    script = {"type": "input_text", "text": ModelServer.script(tag=scene.point.label)}
    scene.point.fields["input"] = [{"role": "user", "content": [script, file]}]
    yield
    scene.files.leaving.set()


@contextmanager
def lost(scene: Scene) -> Iterator[None]:
    """Its worker is frozen and its lease expired, and the sweeper is frozen as well."""
    with scene.frozen("worker", "sweeper"):
        scene.lose()
        yield


@contextmanager
def requeued(scene: Scene) -> Iterator[None]:
    with scene.frozen("worker"):
        scene.lose()
        until(lambda: scene.row("status, failures") == ("queued", 1))
        yield


@contextmanager
def lost_and_asked_again(scene: Scene) -> Iterator[None]:
    with requeued(scene):
        pass
    until(lambda: len(scene.runs()) == 2)
    assert not scene.said("", attempt=2)
    yield


@contextmanager
def lost_and_gone_on(scene: Scene) -> Iterator[None]:
    with requeued(scene):
        pass
    until(lambda: scene.said("response.output_text.delta", attempt=2))
    yield


@contextmanager
def end_held_up(scene: Scene) -> Iterator[None]:
    """The transaction that ends the response is blocked until the cancel waits for it."""
    waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    with psycopg.connect(scene.stack.database_url) as holder, ThreadPoolExecutor(1) as thread:
        holder.execute("lock table items in share mode")
        until(lambda: scene.stack.sql(waiting) == [(1,)])

        def release() -> None:
            until(lambda: scene.stack.sql(waiting) == [(2,)], within_s=1.5)
            holder.rollback()

        letting = thread.submit(release)
        yield
        letting.result()


@contextmanager
def no_redis(scene: Scene) -> Iterator[None]:
    scene.stack.kill("valkey")
    yield
    until(lambda: all(run["ended"] for run in scene.runs()))  # the worker learns of it from Postgres
    scene.stack.start("valkey")
    with scene.stack.client() as client:
        other = client.responses.create(model="scripted", input="hello", background=True)
        until(lambda: client.responses.retrieve(other.id).status == "completed", within_s=15)


@contextmanager
def stopping(scene: Scene) -> Iterator[None]:
    """The worker was told to stop, and is finishing its runs."""
    worker = scene.stack.children["worker"]
    worker.ask_to_stop()
    until(lambda: not scene.stack.sql("select 1 from workers"))
    assert worker.ended() is None
    yield
    worker.wait_until_stopped()
    scene.stack.start("worker")


@contextmanager
def handed_back(scene: Scene) -> Iterator[None]:
    """The worker has stopped, and the response that it could not finish waits for another one."""
    scene.stack.stop("worker")
    assert scene.row("status, failures") == ("queued", 0)
    yield
    scene.stack.start("worker")


def running(scene: Scene) -> bool:
    return scene.said("response.in_progress")


def talking(scene: Scene) -> bool:
    return scene.said("response.output_text.delta")


OPEN_TEXT = [("message", "incomplete")]
NOTHING: list[tuple[str, str]] = []
EITHER = frozenset({"cancelled", "completed"})
POINTS = [
    Point("at once, whatever it is at", ends=EITHER, script={"tokens": 1}),
    Point("waiting for room", fields={"model": "narrow"}, around=no_room, output=NOTHING, asked=False,
          reached=lambda scene: scene.row("status, dispatched_at") == ("queued", None)),
    Point("enqueued, with the worker frozen", around=lambda scene: scene.frozen("worker"), output=NOTHING, asked=False,
          reached=lambda scene: scene.row("status, dispatched_at is null") == ("queued", False)),
    Point("claimed, a file of its input on the way", around=a_file_that_never_comes, output=NOTHING, asked=False,
          reached=lambda scene: scene.files.asked),
    Point("before the headers", {"status": 503, "first_delay_s": 30}, lambda scene: scene.runs(), output=NOTHING),
    Point("after the headers, before the first byte", LONG | {"first_delay_s": 30},
          lambda scene: scene.runs() and running(scene), output=NOTHING),
    Point("in progress", LONG | {"first_delay_s": 0.2}, running),
    Point("after the first delta", {"tokens": 9, "hang_after": 1}, talking, output=OPEN_TEXT),
    Point("in the middle of a text", LONG, lambda scene: scene.runs() and scene.runs()[0]["tokens_sent"] > 9,
          output=OPEN_TEXT),
    Point("in the middle of a thought", {"tokens": 5, "reasoning": "let me see now", "hang_in_thought": 2},
          lambda scene: scene.said("response.reasoning_text.delta"), output=[("reasoning", "incomplete")]),
    Point("between a thought and a text", {"tokens": 5, "reasoning": "I see", "hang_after": 0},
          lambda scene: scene.said("response.output_item.done"), fields={"model": "native"}),
    Point("in the middle of a call's arguments", {"tool_calls": [CALL], "text": "I look ", "hang_after": 4},
          lambda scene: talking(scene) and scene.runs()[0]["tokens_sent"] == 4, fields={"tools": [TOOL]}),
    Point("between two calls", {"tool_calls": [CALL, CALL], "text": "I look ", "hang_after": 7},
          lambda scene: talking(scene) and scene.runs()[0]["tokens_sent"] == 7, fields={"tools": [TOOL]}),
    Point("in the middle of a JSON text", {"text": '{"numbers": [1, 2, 3, 4, 5, 6]}', "hang_after": 4}, talking,
          fields={"text": {"format": SCHEMA}}, output=OPEN_TEXT),
    Point("in the middle of a text of the other API", LONG, talking, fields={"model": "native"},
          output=OPEN_TEXT),
    Point("refused as one too many, waiting in its slot", {"status": 429}, lambda scene: scene.runs(), output=NOTHING),
    Point("waiting in Postgres for the model server", fields={"model": "absent"}, output=NOTHING, asked=False,
          reached=lambda scene: scene.row("status, waits > 0") == ("queued", True)),
    Point("its lease over, and nobody has seen it", LONG, talking, then=lost, output=OPEN_TEXT),
    Point("lost, and waiting for its next run", LONG, talking, then=requeued, output=OPEN_TEXT),
    Point("asked again, before anything new", {"tokens": 50, "first_delay_s": 1.5, "hang_after": 2}, talking,
          then=lost_and_asked_again, output=OPEN_TEXT),
    Point("gone on by a second run", LONG, talking, then=lost_and_gone_on, output=OPEN_TEXT),
    Point("its worker frozen", LONG, talking, then=lambda scene: scene.frozen("worker"), output=OPEN_TEXT),
    Point("nobody there but the worker", LONG, talking, then=lambda scene: scene.frozen("sweeper"), output=OPEN_TEXT),
    Point("while its end is written", {"tokens": 20, "delay_s": 0.03}, talking, then=end_held_up,
          ends=frozenset({"completed"})),
    Point("ended", {"tokens": 3}, lambda scene: scene.row("status") == ("completed",), ends=frozenset({"completed"})),
    Point("Redis away", LONG, talking, then=no_redis, output=OPEN_TEXT),
    Point("its worker stopping", LONG, talking, then=stopping, output=OPEN_TEXT),
    Point("handed back by a worker that stopped", LONG, talking, then=handed_back, output=OPEN_TEXT),
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
    clocks = "timeouts = { first_token = 40, idle = 40, run = 60 }"
    (home / "backburner.toml").write_text(f"""
[models.scripted]
base_url = "{_model_server.base_url}"
{clocks}
[models.narrow]
base_url = "{_model_server.base_url}"
concurrency = 1
[models.native]
base_url = "{_model_server.base_url}"
api = "responses"
{clocks}
[models.absent]
base_url = "http://127.0.0.1:9/v1"
""")
    database_url = new_database(postgres_url, template)
    with Stack(home / "home", database_url, home / "backburner.toml", _model_server) as stack:
        invariants.watch_ends(stack)
        stack.up(FETCH_ALLOW_PRIVATE="1", WAIT_BETWEEN_S="15")
        yield stack
        until(stack.all_ended)
        invariants.check(stack, {row[0] for row in stack.sql("select id from responses")})


class Live:
    """A reader of a response's stream from the first event to the last."""

    def __init__(self, stack: Stack, response_id: str) -> None:
        self.raw = b""
        self.events: list[stream_checker.Event] = []
        self._stack = stack
        self._path = f"/v1/responses/{response_id}?stream=true"
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        with stream_checker.reading(self._stack.port, self._stack.key, self._path) as reader:
            self.events = reader.read()
            self.raw = reader.raw

    def end(self) -> "Live":
        self._thread.join(15)
        assert not self._thread.is_alive(), "the stream does not end"
        assert self.events, "the stream was not read to its end"
        return self


@pytest.mark.parametrize("point", POINTS, ids=[point.label for point in POINTS])
def test_a_response_cancelled_at_any_point_of_its_life_has_one_end_and_keeps_it(
    stack: Stack, files: FileServer, point: Point
) -> None:
    scene = Scene(stack, files, point)
    with stack.client() as client:
        with point.around(scene):
            scene.id = scene.create(client)
            live = Live(stack, scene.id)
            until(lambda: point.reached(scene))
            with point.then(scene):
                told = client.responses.cancel(scene.id)

                # The response has ended for every observer at once, whatever else is in progress.
                assert told.status in point.ends
                events = live.end().events
                assert events[-1]["response"]["status"] == told.status
                assert client.responses.retrieve(scene.id) == told
        until(lambda: all(run["ended"] for run in scene.runs()))
        until(lambda: not stack.sql("select 1 from attempts where response_id = %s and ended_at is null", scene.id))

        # It stays ended: its worker, if it has one, knows of the end and has written nothing more.
        assert client.responses.retrieve(scene.id) == client.responses.cancel(scene.id) == told
    assert Live(stack, scene.id).end().raw == live.raw
    if point.ends == {"cancelled"}:
        # A model server that was about to refuse may do so before it notices that the client has disconnected.
        assert {run["how"] for run in scene.runs()} <= {
            "client_closed",
            *(["errored"] if "status" in point.script else []),
        }
        assert bool(scene.runs()) == point.asked
        assert told.error is None
        if point.output is not None:
            assert [(item.type, item.status) for item in told.output] == point.output


def test_a_foreground_response_cannot_be_cancelled_and_does_not_notice(stack: Stack) -> None:
    with stack.client() as client, ThreadPoolExecutor(1) as thread:
        script = ModelServer.script(tag="foreground", tokens=30, delay_s=0.03)
        answer = thread.submit(client.responses.create, model="scripted", input=script)
        ((response_id,),) = until(
            lambda: stack.sql("select id from responses where not background and status = 'in_progress'")
        )

        with pytest.raises(openai.BadRequestError, match="Cannot cancel a synchronous response"):
            client.responses.cancel(response_id)

        assert answer.result().status == "completed"


def test_of_many_cancels_at_once_all_are_told_the_same(stack: Stack) -> None:
    with stack.client() as client, ThreadPoolExecutor(8) as threads:
        created = client.responses.create(
            model="scripted", input=ModelServer.script(tag="many", **LONG), background=True
        )
        until(lambda: client.responses.retrieve(created.id).output_text)

        told = list(threads.map(client.responses.cancel, [created.id] * 8))

        assert all(one == told[0] for one in told)
        assert told[0].status == "cancelled"
