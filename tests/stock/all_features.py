"""Uses every feature once, so that API, worker, sweeper and command line send all of their SQL statements."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Self

import httpx2
from click.testing import CliRunner

from cli.main import main
from core import database
from core.bootstrap import open_core
from core.runs import workers_sql
from core.tenants import rights
from core.tenants.keys import new_secret
from tests import documents
from tests.harness.waiting import until
from tests.stock.deployment import StockStack

TEMPLATE = {"model": "scripted", "instructions": "Be {{manner}}.", "input": "Hello.", "variables": {"manner": {}}}
LARGE_IMAGE = documents.data_url("image/png", documents.noise(60))
# More responses than the first candidate query of a dispatch returns, so that the dispatch sends a second query.
BACKLOG_SIZE = 40
TERMINAL_STATUSES = {"completed", "failed", "incomplete", "cancelled"}


class FeatureUser:
    """A client and an operator of a stack, who use every feature."""

    def __init__(self, stack: StockStack) -> None:
        self.stack = stack
        self.http = httpx2.Client(base_url=f"http://127.0.0.1:{stack.port}/v1", timeout=30, trust_env=False)
        self.key = stack.key

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def call(self, method: str, path: str, *, expected_status: int = 200, **options: Any) -> dict[str, Any]:
        """Send a request; return the JSON object of the reply."""
        headers = {"Authorization": f"Bearer {self.key}"} | options.pop("headers", {})
        reply = self.http.request(method, path, headers=headers, **options)
        assert reply.status_code == expected_status, reply.text
        return reply.json()

    def create(
        self, *, expected_status: int = 200, headers: dict[str, str] | None = None, **body: Any
    ) -> dict[str, Any]:
        """Create a background response; return the JSON object of the reply."""
        body = {"model": "scripted", "input": "Hello.", "background": True} | body
        return self.call("POST", "/responses", json=body, expected_status=expected_status, headers=headers or {})

    def poll_status(self, response_id: str) -> str:
        return str(self.call("GET", f"/responses/{response_id}")["status"])

    def wait_for_end(self, response_id: str, expected_status: str = "completed") -> None:
        """Wait until the response has ended, and assert that it has the expected status."""
        until(lambda: self.poll_status(response_id) in TERMINAL_STATUSES, timeout_s=30, first_pause_s=0.1)
        assert self.poll_status(response_id) == expected_status

    def run_command(self, *arguments: str, expected_code: int = 0) -> str:
        """Run a `backburner` command; return its output."""
        result = CliRunner().invoke(main, arguments, env=self.stack.environment)
        assert result.exit_code == expected_code, result.output
        return result.stdout

    def run(self) -> None:
        """Use all features, one after another."""
        for use_feature in (
            self.use_responses,
            self.use_lists_and_context,
            self.use_prompts,
            self.reach_limits,
            self.stream_and_poll,
            self.cancel_and_truncate,
            self.lose_a_worker,
            self.dispatch_a_backlog,
            self.lose_the_model_server,
            self.lose_the_api,
            self.stop_processes,
            self.lose_redis,
            self.manage_keys_over_http,
            self.run_commands,
            self.call_core,
        ):
            use_feature()

    def use_responses(self) -> None:
        self.call("GET", "/models")
        response = self.create(headers={"Idempotency-Key": "once"}, metadata={"color": "red"})
        repeated_response = self.create(headers={"Idempotency-Key": "once"}, metadata={"color": "red"})
        assert repeated_response["id"] == response["id"]
        self.wait_for_end(response["id"])
        for tier in ("flex", "no-limit", "auto"):
            self.wait_for_end(self.create(service_tier=tier)["id"])
        self.call("POST", "/responses", json={"model": "scripted", "input": "Hello."})
        self.call("POST", "/responses", json={"model": "scripted", "input": "Hello.", "store": False})

    def use_lists_and_context(self) -> None:
        first_response = self.create(
            input=[{"role": "user", "content": [{"type": "input_image", "image_url": LARGE_IMAGE}]}]
        )
        self.wait_for_end(first_response["id"])
        second_response = self.create(previous_response_id=first_response["id"])
        self.wait_for_end(second_response["id"])
        output = self.call("GET", f"/responses/{second_response['id']}")["output"]
        third_response = self.create(
            input=[{"type": "item_reference", "id": output[0]["id"]}, {"role": "user", "content": "Go on."}]
        )
        self.wait_for_end(third_response["id"])
        self.call("GET", f"/responses/{second_response['id']}/input_items")
        for query in (
            "",
            "?limit=1&order=asc",
            "?status=completed&model=scripted&metadata[color]=red",
            f"?after={second_response['id']}",
        ):
            self.call("GET", f"/responses{query}")
        for response in (third_response, second_response, first_response):
            self.call("DELETE", f"/responses/{response['id']}")

    def use_prompts(self) -> None:
        prompt = self.call("POST", "/prompts", json={"name": "greeting", "template": TEMPLATE})
        self.call("POST", f"/prompts/{prompt['id']}/versions", json={"template": TEMPLATE, "make_default": True})
        self.call("POST", f"/prompts/{prompt['id']}", json={"description": "A greeting.", "default_version": "1"})
        self.call("GET", "/prompts")
        self.call("GET", f"/prompts/{prompt['id']}")
        self.call("GET", f"/prompts/{prompt['id']}/versions/2")
        self.wait_for_end(self.create(prompt={"id": prompt["id"], "variables": {"manner": "kind"}})["id"])
        self.call("DELETE", f"/prompts/{prompt['id']}")

    def reach_limits(self) -> None:
        """Use all credits of a project, then fill its queue."""
        default_key, self.key = self.key, self.run_command("keys", "create", "--project", "tight").strip()
        script = self.stack.models.script(tokens=12, delay_s=0.05)
        response_ids = [self.create(input=script)["id"] for _ in range(2)]
        self.create(service_tier="default", expected_status=429)
        self.create(service_tier="flex", expected_status=429)
        for response_id in response_ids:
            self.wait_for_end(response_id)
        self.wait_for_end(self.create(service_tier="auto")["id"])
        self.key = default_key

    def stream_and_poll(self) -> None:
        body = {"model": "scripted", "input": self.stack.models.script(tokens=20, delay_s=0.02), "stream": True}
        headers = {"Authorization": f"Bearer {self.key}"}
        with self.http.stream("POST", "/responses", json=body, headers=headers) as reply:
            reply.read()
        response = self.create(input=self.stack.models.script(tokens=20, delay_s=0.02), stream=False)
        with self.http.stream(
            "GET", f"/responses/{response['id']}?stream=true&starting_after=2", headers=headers
        ) as reply:
            assert "response.completed" in reply.read().decode()
        polled_response = self.create(input=self.stack.models.script(tokens=10, delay_s=0.05))
        self.call("GET", f"/responses/{polled_response['id']}", headers={"Prefer": "wait=10"})

    def cancel_and_truncate(self) -> None:
        response = self.create(input=self.stack.models.script(tokens=200, delay_s=0.05))
        until(lambda: self.poll_status(response["id"]) == "in_progress")
        self.call("POST", f"/responses/{response['id']}/cancel")
        messages: list[dict[str, Any]] = [{"role": "user", "content": f"{number} " * 20} for number in range(10)]
        script = self.stack.models.script(text="Yes.", context=100, context_error="vllm")
        truncated_response = self.create(
            input=[*messages, {"role": "user", "content": script}], truncation="auto", max_output_tokens=16
        )
        self.wait_for_end(truncated_response["id"])

    def lose_a_worker(self) -> None:
        response = self.create(input=self.stack.models.script(tokens=12, delay_s=0.1))
        until(lambda: self.poll_status(response["id"]) == "in_progress")
        self.stack.kill("worker")
        self.stack.start("worker")
        self.wait_for_end(response["id"])

    def dispatch_a_backlog(self) -> None:
        """Queue more responses of one model than the first candidate query of a dispatch returns."""
        self.stack.stop("worker")
        for _ in range(BACKLOG_SIZE):
            self.create(model="wide")
        self.stack.start("worker")
        until(self.stack.is_idle, timeout_s=30)

    def lose_the_model_server(self) -> None:
        self.stack.models.kill()
        response = self.create()
        until(lambda: self.stack.sql("select 1 from circuits"), timeout_s=20)
        self.run_command("doctor", expected_code=1)
        self.stack.models.restart()
        self.wait_for_end(response["id"])
        until(lambda: not self.stack.sql("select 1 from circuits"), timeout_s=20)

    def lose_the_api(self) -> None:
        """Kill the API while a foreground response runs; the sweeper cancels the response."""
        with self.running_foreground_response(tokens=300) as response_id:
            self.stack.kill("api")
        self.stack.start("api")
        self.wait_for_end(response_id, "cancelled")

    def stop_processes(self) -> None:
        """Stop API and worker while a foreground response runs; the next worker continues it to the end."""
        with self.running_foreground_response(tokens=30) as response_id:
            self.stack.stop("api")
            self.stack.stop("worker")
        self.stack.start_simultaneously("api", "worker")
        self.wait_for_end(response_id)

    @contextmanager
    def running_foreground_response(self, tokens: int) -> Iterator[str]:
        """Yield the ID of a running foreground response; the block must end the API, which disconnects the client."""
        body = {"model": "scripted", "input": self.stack.models.script(tokens=tokens, delay_s=0.1)}
        headers = {"Authorization": f"Bearer {self.key}"}
        query = "select id from responses where not background and status = 'in_progress'"
        with ThreadPoolExecutor(1) as threads:
            request = threads.submit(self.http.post, "/responses", json=body, headers=headers)
            ((response_id,),) = until(lambda: self.stack.sql(query))
            yield str(response_id)
            assert isinstance(request.exception(), httpx2.TransportError)

    def lose_redis(self) -> None:
        """Create responses without Redis, so that the API counts the credits in PostgreSQL."""
        default_key, self.key = self.key, self.run_command("keys", "create", "--project", "lonely").strip()
        self.stack.kill("redis")
        for _ in range(2):
            self.create()
        self.create(service_tier="default", expected_status=429)
        self.stack.start("redis")
        until(self.stack.all_ended, timeout_s=30)
        self.key = default_key

    def manage_keys_over_http(self) -> None:
        project = self.call("POST", "/projects", json={"name": "team-a"})
        self.call("GET", "/projects")
        self.call("GET", f"/projects/{project['id']}")
        keys_path = f"/projects/{project['id']}/api_keys"
        key = self.call("POST", keys_path, json={"name": "first"})
        self.call("GET", keys_path)
        self.call("GET", f"{keys_path}/{key['id']}")
        self.call("POST", f"{keys_path}/{key['id']}/rotate")
        self.call("DELETE", f"{keys_path}/{key['id']}")

    def run_commands(self) -> None:
        self.run_command("migrate")
        self.run_command("projects", "create", "team-b")
        self.run_command("keys", "create", "--project", "team-b", "--also", "team-a", "--rights", "read,cancel")
        self.run_command("keys", "list")
        self.run_command("keys", "list", "--project", "team-b")
        self.run_command("projects", "list")
        self.run_command("projects", "show", "team-b")
        self.run_command("projects", "usage", "--by", "key,tier,day")
        self.run_command("audit", "--since", "1d", "--project", "team-b")
        self.run_command("top", "--json")
        self.run_command("responses", "list", "--status", "completed", "--model", "scripted", "--project", "default")
        response = self.create(input=self.stack.models.script(tokens=20, delay_s=0.1))
        self.run_command("responses", "cancel", response["id"])
        self.run_command("responses", "requeue", response["id"])
        self.run_command("responses", "show", response["id"], "--json")
        assert response["id"] in self.run_command("responses", "list")
        until(self.stack.all_ended, timeout_s=60)

    def call_core(self) -> None:
        """Call the functions that otherwise run only in `backburner up` or after a lost reply from PostgreSQL."""
        secret = new_secret()
        with open_core(self.stack.settings) as core:
            core.keys.register(secret)
            core.keys.register(secret, rights.ALL_RIGHTS)
            assert core.attempts.find_written([]) == []
        with database.connect(self.stack.database_url) as connection:
            assert not workers_sql.is_live(connection, 0, worker_seen_s=15)
