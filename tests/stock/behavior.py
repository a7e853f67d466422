"""Tests of a deployment on Debian's servers, for each way to reach PostgreSQL and each state of its statistics."""

from datetime import datetime

import pytest

from tests.harness.waiting import until
from tests.stock import load
from tests.stock.conftest import Servers
from tests.stock.deployment import CONCURRENCY, RUNNING, StockStack

LOAD_S = 4
# Where dispatch is stuck, only those complete that found capacity when they were created.
COMPLETIONS = 2 * (CONCURRENCY + RUNNING)


def most_at_once(stack: StockStack, model: str, since: datetime) -> int:
    """The highest number of concurrent attempts of a model."""
    ((found,),) = stack.sql(
        "select max(n) from (select sum(step) over (order by at, step) as n from ("
        " select a.started_at as at, 1 as step, r.model from attempts a join responses r on r.id = a.response_id"
        " union all"
        " select a.ended_at as at, -1 as step, r.model from attempts a join responses r on r.id = a.response_id"
        ") marks where model = %s and at >= %s) counted",
        model,
        since,
    )
    return int(found)


@pytest.mark.stock
class Behavior:
    """Create, dispatch with limits, SIGKILL and recovery."""

    def test_a_response_is_created_and_completes(self, stack: StockStack) -> None:
        with stack.client() as client:
            made = client.responses.create(model="narrow", input="Hello.", background=True)
            until(lambda: client.responses.retrieve(made.id).status == "completed")

            assert client.responses.retrieve(made.id).output_text == "You said: Hello."

    def test_dispatch_with_limits_keeps_up_with_its_clients(self, stack: StockStack, servers: Servers) -> None:
        ((begun,),) = stack.sql("select now()")
        logged = len(servers.errors(stack.database))
        outcome = load.run(stack, LOAD_S, completions=COMPLETIONS)

        assert outcome.refused == {}
        assert outcome.completed >= COMPLETIONS
        until(stack.idle, within_s=20, every_s=0.1)
        since = "select status, count(*) from responses where created_at >= %s group by status"
        assert stack.sql(since, begun) == [("completed", outcome.created)]
        assert most_at_once(stack, "narrow", begun) == CONCURRENCY
        assert most_at_once(stack, "scripted", begun) == RUNNING
        assert servers.errors(stack.database)[logged:] == []

    def test_what_a_killed_worker_ran_completes_on_another(self, stack: StockStack) -> None:
        script = stack.models.script(tokens=20, delay_s=0.1)
        with stack.client() as client:
            made = [client.responses.create(model="narrow", input=script, background=True).id for _ in range(6)]
        running = "select count(*) from responses where status = 'in_progress' and id = any (%s)"
        until(lambda: stack.sql(running, made) == [(len(made),)])

        stack.kill("worker")
        stack.start("worker")

        until(stack.idle, within_s=20, every_s=0.1)
        ended = stack.sql("select distinct status, attempt from responses where id = any (%s)", made)
        assert ended == [("completed", 2)]
