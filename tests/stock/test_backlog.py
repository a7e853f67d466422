"""Planner costs with statistics from a time when one model of one project had a backlog."""

import pytest

from tests.harness.waiting import until
from tests.stock import filling
from tests.stock.deployment import CONCURRENCY, StockStack
from tests.stock.plans import Recording

DATABASE = "backlog"
pytestmark = pytest.mark.stock


def test_no_hot_statement_is_expensive_with_the_statistics_of_a_backlog(
    recorded_stack: StockStack, recording: Recording
) -> None:
    completed_query = "select count(*) from responses where model = 'narrow' and status = 'completed'"
    recorded_stack.stop("worker")
    with recorded_stack.client() as client:
        waiting_id = client.responses.create(model="narrow", input="Hello.", background=True).id
        filling.copy_waiting_responses(recorded_stack.admin_url, [waiting_id], filling.WAITING_COUNT)
        recorded_stack.sql("analyze")
        recording.read_new_plans()
        recorded_stack.start("worker")
        for _ in range(20):
            client.responses.create(model="scripted", input="Hello.", background=True)
        until(lambda: recorded_stack.sql(completed_query) >= [(2 * CONCURRENCY,)])

    assert recording.find_expensive_statements(recording.read_new_plans()) == []
