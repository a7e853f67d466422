"""A claim that Postgres executes only after another attempt, because the process of its session was frozen."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import psycopg

from core.bootstrap import Core
from core.runs.attempt import HandBack
from core.settings import Settings
from tests.harness.engine import claim, create_caller, opening_batch, register_worker, sql, submit
from tests.harness.waiting import until


def test_a_claim_delayed_past_another_attempt_continues_from_the_current_log(core: Core, settings: Settings) -> None:
    register_worker(core)
    response_id = submit(core, create_caller(core))
    with (
        psycopg.connect(settings.database_url.get_secret_value()) as blocker,
        ThreadPoolExecutor(1) as thread,
    ):
        blocker.execute("select 1 from responses for no key update")
        late_claim = thread.submit(core.attempts.claim, response_id, "late")
        ((pid,),) = until(
            lambda: sql(
                settings,
                "select pid from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
                " and query like '%update responses%'",
            )
        )
        os.kill(pid, signal.SIGSTOP)
        try:
            blocker.rollback()
            first_attempt = claim(core, response_id)
            core.attempts.append_events([opening_batch(first_attempt)])
            core.attempts.hand_back(first_attempt, HandBack("stopped"))
            sql(settings, "update responses set dispatched_at = now()")
        finally:
            os.kill(pid, signal.SIGCONT)

        second_attempt = late_claim.result() or claim(core, response_id)

    assert (second_attempt.number, second_attempt.next_seq) == (2, opening_batch(first_attempt).next_seq)
