"""A claim delayed past another attempt, as happens with a frozen Postgres process or on a busy machine."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import psycopg

from core.bootstrap import Core
from core.runs.attempts import HandBack
from core.settings import Settings
from tests.harness.engine import caller, claim, opening, sql, submit, worker
from tests.harness.waiting import until


def test_a_claim_that_slept_through_another_attempt_does_not_go_on_from_what_it_saw_before(
    core: Core, settings: Settings
) -> None:
    worker(core)
    response_id = submit(core, caller(core))
    with (
        psycopg.connect(settings.database_url.get_secret_value()) as holder,
        ThreadPoolExecutor(1) as thread,
    ):
        holder.execute("select 1 from responses for no key update")
        late = thread.submit(core.attempts.claim, response_id, "late")
        ((pid,),) = until(
            lambda: sql(
                settings,
                "select pid from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
                " and query like '%update responses%'",
            )
        )
        os.kill(pid, signal.SIGSTOP)
        try:
            holder.rollback()
            first = claim(core, response_id)
            core.attempts.record([opening(first)])
            core.attempts.hand_back(first, HandBack("stopped"))
            sql(settings, "update responses set dispatched_at = now()")
        finally:
            os.kill(pid, signal.SIGCONT)

        attempt = late.result() or claim(core, response_id)

    assert (attempt.number, attempt.next_seq) == (2, opening(first).next_seq)
