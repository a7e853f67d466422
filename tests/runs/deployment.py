"""The database, processes and attempts that the tests of the state machine compare with the model."""

import json
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psycopg

from core.bootstrap import Core, open_core
from core.runs.attempt import Attempt
from core.runs.attempts import Batch
from core.settings import Settings
from core.tenants.keys import Caller
from tests.harness.engine import batch, create_caller, message_events, opening_batch, register_worker
from tests.runs import lifecycles
from tests.runs.lifecycles import StateChecker

SLOTS, NARROW_CONCURRENCY = 4, 2

CONFIG = f"""
[models.scripted]
base_url = "http://127.0.0.1:9/v1"
timeouts = {{ run = {lifecycles.RUN_S} }}
[models.narrow]
base_url = "http://127.0.0.1:9/v1"
timeouts = {{ run = {lifecycles.RUN_S} }}
concurrency = {NARROW_CONCURRENCY}
"""


@dataclass
class Deployment:
    """One database and the cores of the processes that share it, each with its own connections."""

    api: Core
    sweeper: Core
    workers: tuple[Core, Core]
    checker: StateChecker
    monitor: psycopg.Connection
    caller: Caller


class DeploymentStack(ExitStack):
    """A `Deployment` on a new database; closing it closes all connections."""

    def __init__(self, url: str, valkey_url: str, home: Path) -> None:
        super().__init__()
        (home / "backburner.toml").write_text(CONFIG)
        settings = Settings(
            home=home,
            database_url=url,
            redis_url=valkey_url,
            config=home / "backburner.toml",
            key_cache_s=5,
            lease_s=lifecycles.LEASE_S,
            worker_seen_s=86_400,
            claim_within_s=lifecycles.CLAIM_S,
            queue_timeout_s=lifecycles.QUEUE_S,
            whole_timeout_s=lifecycles.TOTAL_S,
            follow_s=lifecycles.FOLLOW_S,
            max_failures=lifecycles.MAX_FAILURES,
        )
        api, sweeper, first_worker, second_worker = [self.enter_context(open_core(settings)) for _ in range(4)]
        monitor = self.enter_context(psycopg.connect(url, autocommit=True))
        monitor.execute(lifecycles.AUDIT)
        register_worker(first_worker, "w1", slots=SLOTS)
        self.deployment = Deployment(
            api, sweeper, (first_worker, second_worker), StateChecker(monitor), monitor, create_caller(api)
        )


class WorkerAttempt:
    """A worker's copy of its attempt; another worker may have claimed the response in the meantime."""

    def __init__(self, attempt: Attempt, core: Core) -> None:
        self.attempt = attempt
        self.core = core
        self.next_seq = attempt.next_seq
        self.has_open_message = attempt.has_output

    @property
    def attempt_key(self) -> tuple[str, int]:
        return self.attempt.response_id, self.attempt.number

    def next_batch(self, delta_count: int) -> Batch:
        """The next events to write."""
        if self.has_open_message:
            events = message_events("msg_1", 0, ["more "] * delta_count)[2:]
            return batch(self.attempt, events, self.next_seq)
        first_batch = opening_batch(self.attempt)
        if self.attempt.has_in_progress_event:
            events = [json.loads(line) for line in first_batch.lines[1:]]
            return batch(self.attempt, events, self.next_seq)
        return first_batch

    def advance(self, recorded_batch: Batch) -> None:
        """Set the position after a batch that is now in the log."""
        self.next_seq = recorded_batch.next_seq
        self.has_open_message = self.has_open_message or bool(recorded_batch.lines)
