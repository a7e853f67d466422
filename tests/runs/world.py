"""A deployment for tests of the state machine, beside the model of what it must do."""

import json
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psycopg

from core.bootstrap import Core, open_core
from core.runs.attempts import Attempt, Batch
from core.settings import Settings
from core.tenants.keys import Caller
from tests.harness.engine import batch, caller, opening, said, worker
from tests.runs import lives
from tests.runs.lives import Witness

SLOTS, NARROW = 4, 2


CONFIG = f"""
[models.scripted]
base_url = "http://127.0.0.1:9/v1"
timeouts = {{ run = {lives.RUN_S} }}
[models.narrow]
base_url = "http://127.0.0.1:9/v1"
timeouts = {{ run = {lives.RUN_S} }}
concurrency = {NARROW}
"""


@dataclass
class World:
    """One database and the processes that share it, each with its own connections."""

    api: Core
    sweeper: Core
    workers: tuple[Core, Core]
    witness: Witness
    monitor: psycopg.Connection
    who: Caller


class world_of(ExitStack):  # noqa: N801  # used like a function
    def __init__(self, url: str, valkey_url: str, home: Path) -> None:
        super().__init__()
        (home / "backburner.toml").write_text(CONFIG)
        settings = Settings(
            home=home,
            database_url=url,
            redis_url=valkey_url,
            config=home / "backburner.toml",
            key_cache_s=5,
            lease_s=lives.LEASE_S,
            worker_seen_s=86_400,
            claim_within_s=lives.CLAIM_S,
            queue_timeout_s=lives.QUEUE_S,
            whole_timeout_s=lives.WHOLE_S,
            follow_s=lives.FOLLOW_S,
            max_failures=lives.MAX_FAILURES,
        )
        api, sweeper, one, two = [self.enter_context(open_core(settings)) for _ in range(4)]
        looking = self.enter_context(psycopg.connect(url, autocommit=True))
        looking.execute(lives.AUDIT)
        worker(one, "w1", slots=SLOTS)
        self.world = World(api, sweeper, (one, two), Witness(looking), looking, caller(api))


class Held:
    """An attempt as seen by its worker, which may be alive, dead or late; only Postgres knows the current holder."""

    def __init__(self, attempt: Attempt, core: Core) -> None:
        self.attempt = attempt
        self.core = core
        self.next_seq = attempt.next_seq
        self.opened = attempt.shown

    @property
    def fence(self) -> tuple[str, int]:
        return self.attempt.response_id, self.attempt.number

    def frozen(self, words: int) -> Batch:
        """The next events to write."""
        if self.opened:
            events = said("msg_1", 0, ["more "] * words)[2:]
            return batch(self.attempt, events, self.next_seq)
        opened = opening(self.attempt)
        if self.attempt.announced:
            events = [json.loads(line) for line in opened.lines[1:]]
            return batch(self.attempt, events, self.next_seq)
        return opened

    def wrote(self, written: Batch) -> None:
        self.next_seq, self.opened = written.next_seq, self.opened or bool(written.lines)
