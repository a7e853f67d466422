"""Functions for tests that call the use cases of `core` in their own process."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import psycopg

from core import jsonio
from core.bootstrap import Core
from core.runs.attempt import Attempt, HandBack
from core.runs.attempts import Batch
from core.runs.ends import AttemptUsage, Outcome
from core.settings import Settings
from core.tenants.keys import Caller
from core.wire import item_events, response, transcript
from core.wire.item_events import PartPath
from core.wire.request import CreateResponse
from core.wire.status import Status


def create_caller(core: Core, project: str = "default") -> Caller:
    """Create an API key, and its project if that does not exist; return the caller that the key identifies."""
    return core.keys.caller(core.keys.create(project=project))


def register_worker(
    core: Core,
    name: str = "w1",
    slots: int = 100,
    lanes: Sequence[str] = ("default",),
    models: Mapping[str, int | None] | None = None,
) -> str:
    """Register a worker in Postgres; return its ID. Without `models` it can run the responses of all models."""
    core.workers.register(name, hostname="here", pid=1, slots=slots, lanes=lanes, models=models)
    return name


def insert_backlog(settings: Settings, response_id: str, copies: int) -> None:
    """Insert copies of a waiting response and of its event log in SQL, which is much faster than create requests."""
    with psycopg.connect(settings.database_url.get_secret_value(), autocommit=True) as connection:
        copy_waiting_response(connection, response_id, copies)


def copy_waiting_response(connection: psycopg.Connection, response_id: str, copies: int) -> None:
    """Insert copies of a waiting response and of its event log over an open connection."""
    columns = (
        "project_id, status, background, model, lane, tier, run_s, queued_until, ends_by, available_at, metadata,"
        " request"
    )
    new_id = "'resp_' || left(encode(sha256((id || '/' || i)::bytea), 'hex'), 48)"
    connection.execute(
        f"with copies as (insert into responses (id, {columns}, document)"
        f" select {new_id}, {columns}, replace(document, id, {new_id})"
        " from responses, generate_series(1, %(n)s) i where id = %(id)s returning id)"
        " insert into response_events (response_id, first_seq, n, attempt, data)"
        " select copies.id, first_seq, n, attempt, replace(data, response_id, copies.id)"
        " from copies, response_events where response_id = %(id)s",
        {"n": copies, "id": response_id},
    )


def submit(core: Core, owner: Caller, **fields: object) -> str:
    """Create a background response, with `fields` added to the request; return its ID."""
    request = CreateResponse.model_validate({"model": "scripted", "input": "hi", "background": True, **fields})
    return core.creation.create(owner, request).id


def claim(core: Core, response_id: str, worker_id: str = "w1") -> Attempt:
    """Claim a response for a worker; fail if it cannot be claimed."""
    attempt = core.attempts.claim(response_id, worker_id)
    assert attempt is not None
    return attempt


def batch(attempt: Attempt, events: Iterable[dict], first_seq: int | None = None) -> Batch:
    """Return a batch of these events, numbered from `first_seq`, or from the attempt's next sequence number if None."""
    start_seq = attempt.next_seq if first_seq is None else first_seq
    lines = tuple(jsonio.dumps(event) for event in transcript.number(events, start_seq))
    return Batch(attempt.response_id, attempt.number, start_seq, lines)


def opening_batch(attempt: Attempt, text: str = "Hello") -> Batch:
    """Return the first events of a run, up to an unfinished message with this text."""
    running_document = response.running_document(jsonio.loads(attempt.document), [])
    return batch(attempt, [transcript.lifecycle(running_document), *message_events("msg_1", 0, [text])])


def message_events(item_id: str, output_index: int, deltas: Iterable[str]) -> list[dict]:
    """Return the events of an unfinished message with one text part."""
    path = PartPath(item_id, output_index, "output_text", 0)
    return [
        item_events.open_item(item_events.empty_item("message", item_id), output_index),
        item_events.open_part(path),
        *[item_events.delta(path, delta) for delta in deltas],
    ]


COMPLETED = Outcome(
    Status.COMPLETED, usage=response.usage(1, 2, 0, 0), attempt_usage=AttemptUsage(1, 2, estimated=False)
)


def sql(settings: Settings, query: str, *parameters: object) -> list[tuple]:
    """Run a statement on a new connection; return its rows."""
    with psycopg.connect(settings.database_url.get_secret_value(), autocommit=True) as connection:
        cursor = connection.execute(query, parameters or None)
        return cursor.fetchall() if cursor.description else []


def run_concurrently(*calls) -> list:
    """Run the calls simultaneously, each in its own thread; return their results in order."""
    barrier = Barrier(len(calls))

    def run(call):
        barrier.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as threads:
        futures = [threads.submit(run, call) for call in calls]
        return [future.result() for future in futures]


def dispatched_ids(settings: Settings) -> list[str]:
    """Return the IDs of the responses that are dispatched but not claimed yet."""
    rows = sql(settings, "select id from responses where dispatched_at is not null and status = 'queued'")
    return [response_id for (response_id,) in rows]


# The hand-back of an attempt whose model server is unreachable.
UNAVAILABLE = HandBack(
    "The model server cannot be reached: no.", awaits_server=True, unavailable=True, error_code="server_error"
)
