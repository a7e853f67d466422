"""A function for the tests that kill worker, Valkey and sweeper."""

from tests import invariants
from tests.harness.stack import Stack
from tests.harness.waiting import until
from tests.model_server import ModelServer


def kill_worker_valkey_and_sweeper(
    stack: Stack, models: ModelServer, *, running_count: int, waiting_count: int
) -> dict[str, int]:
    """Kill worker, Valkey and sweeper while responses run and wait; return the number of responses by final status."""
    invariants.watch_ends(stack)
    stack.up(WORKER_SLOTS=str(running_count))
    with stack.client(max_retries=3) as client:
        response_ids = {
            client.responses.create(
                model="scripted",
                input=models.script(tag=f"r{number}", tokens=60, delay_s=0.05, first_delay_s=number % 3),
                background=True,
            ).id
            for number in range(running_count + waiting_count)
        }
        until(lambda: stack.sql("select count(*) from responses where status = 'in_progress'") == [(running_count,)])
        until(lambda: models.stats()["open"] == running_count)

        for name in ("worker", "valkey", "sweeper"):
            stack.kill(name)
        until(lambda: models.stats()["open"] == 0, timeout_s=5)
        stack.up("valkey", "sweeper")
        stack.start("worker", WORKER_SLOTS=str(running_count))

        until(stack.all_ended, timeout_s=60)
        for response_id in response_ids:
            response = client.responses.retrieve(response_id)
            assert response.status == "completed", response.error
            assert response.output_text == "".join(f"tok{number} " for number in range(60))
    until(lambda: models.stats()["open"] == 0, timeout_s=5)
    return invariants.check_responses(stack, response_ids)
