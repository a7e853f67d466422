"""Tests of a deployment on Debian's servers, which run with and without PgBouncer in each state of the statistics."""

from datetime import datetime

import pytest

from tests.harness.waiting import until
from tests.stock import load
from tests.stock.conftest import Servers
from tests.stock.deployment import CONCURRENCY, RUNNING_LIMIT, StockStack

LOAD_S = 4
# Twice as many responses as the limits allow simultaneously, so that the load needs working dispatch.
COMPLETION_GOAL = 2 * (CONCURRENCY + RUNNING_LIMIT)


def find_max_concurrent_attempts(stack: StockStack, model: str, since: datetime) -> int:
    """Return the highest number of concurrent attempts of a model since `since`."""
    ((maximum,),) = stack.sql(
        "select max(n) from (select sum(step) over (order by at, step) as n from ("
        " select a.started_at as at, 1 as step, r.model from attempts a join responses r on r.id = a.response_id"
        " union all"
        " select a.ended_at as at, -1 as step, r.model from attempts a join responses r on r.id = a.response_id"
        ") changes where model = %s and at >= %s) totals",
        model,
        since,
    )
    return int(maximum)


@pytest.mark.stock
class Behavior:
    """Tests of creates, of dispatch with limits, and of recovery after SIGKILL; subclasses run them on a deployment."""

    def test_a_response_is_created_and_completes(self, stack: StockStack) -> None:
        with stack.client() as client:
            response = client.responses.create(model="narrow", input="Hello.", background=True)
            until(lambda: client.responses.retrieve(response.id).status == "completed")

            assert client.responses.retrieve(response.id).output_text == "You said: Hello."

    def test_dispatch_with_limits_fills_every_limit_under_load(self, stack: StockStack, servers: Servers) -> None:
        ((started_at,),) = stack.sql("select now()")
        previous_error_count = len(servers.read_errors(stack.database))
        result = load.run(stack, LOAD_S, completion_goal=COMPLETION_GOAL)

        assert result.errors == {}
        assert result.completed_count >= COMPLETION_GOAL
        until(stack.is_idle, timeout_s=20, first_pause_s=0.1)
        query = "select status, count(*) from responses where created_at >= %s group by status"
        assert stack.sql(query, started_at) == [("completed", result.created_count)]
        assert find_max_concurrent_attempts(stack, "narrow", started_at) == CONCURRENCY
        assert find_max_concurrent_attempts(stack, "scripted", started_at) == RUNNING_LIMIT
        assert servers.read_errors(stack.database)[previous_error_count:] == []

    def test_the_responses_of_a_killed_worker_complete_on_another_worker(self, stack: StockStack) -> None:
        script = stack.models.script(tokens=20, delay_s=0.1)
        with stack.client() as client:
            response_ids = [client.responses.create(model="narrow", input=script, background=True).id for _ in range(6)]
        query = "select count(*) from responses where status = 'in_progress' and id = any (%s)"
        until(lambda: stack.sql(query, response_ids) == [(len(response_ids),)])

        stack.kill("worker")
        stack.start("worker")

        until(stack.is_idle, timeout_s=20, first_pause_s=0.1)
        ends = stack.sql("select distinct status, attempt from responses where id = any (%s)", response_ids)
        assert ends == [("completed", 2)]
