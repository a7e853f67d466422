"""One use of every feature, so that API, worker, sweeper and command line send every statement they have."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Self

import httpx2
from click.testing import CliRunner

from cli.main import main
from core.bootstrap import open_core
from core.tenants import rights
from core.tenants.keys import new_secret
from tests import documents
from tests.harness.waiting import until
from tests.stock.deployment import StockStack

TEMPLATE = {"model": "scripted", "instructions": "Be {{manner}}.", "input": "Hello.", "variables": {"manner": {}}}
LARGE_IMAGE = documents.data_url("image/png", documents.noise(60))
# More than the first candidate query of a dispatch returns; with fewer, one statement is missing from the recording.
BACKLOG = 40
ENDED = {"completed", "failed", "incomplete", "cancelled"}


class Journey:
    """One client and one operator of a stack."""

    def __init__(self, stack: StockStack) -> None:
        self.stack = stack
        self.http = httpx2.Client(base_url=f"http://127.0.0.1:{stack.port}/v1", timeout=30, trust_env=False)
        self.key = stack.key

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def call(self, method: str, path: str, *, expect: int = 200, **options: Any) -> dict[str, Any]:
        """Send a request; return the JSON object of the reply."""
        headers = {"Authorization": f"Bearer {self.key}"} | options.pop("headers", {})
        answer = self.http.request(method, path, headers=headers, **options)
        assert answer.status_code == expect, answer.text
        return answer.json()

    def create(self, *, expect: int = 200, headers: dict[str, str] | None = None, **body: Any) -> dict[str, Any]:
        """Create a background response and return it."""
        body = {"model": "scripted", "input": "Hello.", "background": True} | body
        return self.call("POST", "/responses", json=body, expect=expect, headers=headers or {})

    def status(self, response_id: str) -> str:
        return str(self.call("GET", f"/responses/{response_id}")["status"])

    def finish(self, response_id: str, status: str = "completed") -> None:
        """Wait until the response has ended with the expected status."""
        until(lambda: self.status(response_id) in ENDED, within_s=30, every_s=0.1)
        assert self.status(response_id) == status

    def command(self, *words: str, expect: int = 0) -> str:
        """Run a `backburner` command; return its output."""
        done = CliRunner().invoke(main, words, env=self.stack.environment)
        assert done.exit_code == expect, done.output
        return done.stdout

    def run(self) -> None:
        """Run every part of the journey in order."""
        for step in (
            self.use_responses,
            self.use_lists_and_context,
            self.use_prompts,
            self.meet_limits,
            self.stream_and_wait,
            self.cancel_and_truncate,
            self.lose_a_worker,
            self.dispatch_a_backlog,
            self.lose_the_model_server,
            self.lose_an_api,
            self.stop_the_parts,
            self.lose_redis,
            self.manage_keys_over_http,
            self.operate,
            self.use_the_core,
        ):
            step()

    def use_responses(self) -> None:
        self.call("GET", "/models")
        made = self.create(headers={"Idempotency-Key": "once"}, metadata={"color": "red"})
        again = self.create(headers={"Idempotency-Key": "once"}, metadata={"color": "red"})
        assert again["id"] == made["id"]
        self.finish(made["id"])
        for tier in ("flex", "no-limit", "auto"):
            self.finish(self.create(service_tier=tier)["id"])
        self.call("POST", "/responses", json={"model": "scripted", "input": "Hello."})
        self.call("POST", "/responses", json={"model": "scripted", "input": "Hello.", "store": False})

    def use_lists_and_context(self) -> None:
        first = self.create(input=[{"role": "user", "content": [{"type": "input_image", "image_url": LARGE_IMAGE}]}])
        self.finish(first["id"])
        second = self.create(previous_response_id=first["id"])
        self.finish(second["id"])
        output = self.call("GET", f"/responses/{second['id']}")["output"]
        third = self.create(
            input=[{"type": "item_reference", "id": output[0]["id"]}, {"role": "user", "content": "Go on."}]
        )
        self.finish(third["id"])
        self.call("GET", f"/responses/{second['id']}/input_items")
        for query in (
            "",
            "?limit=1&order=asc",
            "?status=completed&model=scripted&metadata[color]=red",
            f"?after={second['id']}",
        ):
            self.call("GET", f"/responses{query}")
        for made in (third, second, first):
            self.call("DELETE", f"/responses/{made['id']}")

    def use_prompts(self) -> None:
        prompt = self.call("POST", "/prompts", json={"name": "greeting", "template": TEMPLATE})
        self.call("POST", f"/prompts/{prompt['id']}/versions", json={"template": TEMPLATE, "make_default": True})
        self.call("POST", f"/prompts/{prompt['id']}", json={"description": "A greeting.", "default_version": "1"})
        self.call("GET", "/prompts")
        self.call("GET", f"/prompts/{prompt['id']}")
        self.call("GET", f"/prompts/{prompt['id']}/versions/2")
        self.finish(self.create(prompt={"id": prompt["id"], "variables": {"manner": "kind"}})["id"])
        self.call("DELETE", f"/prompts/{prompt['id']}")

    def meet_limits(self) -> None:
        """Use up a project's credits, then its queue."""
        whole, self.key = self.key, self.command("keys", "create", "--project", "tight").strip()
        long = self.stack.models.script(tokens=12, delay_s=0.05)
        made = [self.create(input=long)["id"] for _ in range(2)]
        self.create(service_tier="default", expect=429)
        self.create(service_tier="flex", expect=429)
        for response_id in made:
            self.finish(response_id)
        self.finish(self.create(service_tier="auto")["id"])
        self.key = whole

    def stream_and_wait(self) -> None:
        body = {"model": "scripted", "input": self.stack.models.script(tokens=20, delay_s=0.02), "stream": True}
        headers = {"Authorization": f"Bearer {self.key}"}
        with self.http.stream("POST", "/responses", json=body, headers=headers) as answer:
            answer.read()
        made = self.create(input=self.stack.models.script(tokens=20, delay_s=0.02), stream=False)
        with self.http.stream(
            "GET", f"/responses/{made['id']}?stream=true&starting_after=2", headers=headers
        ) as answer:
            assert "response.completed" in answer.read().decode()
        waited = self.create(input=self.stack.models.script(tokens=10, delay_s=0.05))
        self.call("GET", f"/responses/{waited['id']}", headers={"Prefer": "wait=10"})

    def cancel_and_truncate(self) -> None:
        made = self.create(input=self.stack.models.script(tokens=200, delay_s=0.05))
        until(lambda: self.status(made["id"]) == "in_progress")
        self.call("POST", f"/responses/{made['id']}/cancel")
        turns: list[dict[str, Any]] = [{"role": "user", "content": f"{number} " * 20} for number in range(10)]
        script = self.stack.models.script(text="Yes.", context=100, context_error="vllm")
        cut = self.create(input=[*turns, {"role": "user", "content": script}], truncation="auto", max_output_tokens=16)
        self.finish(cut["id"])

    def lose_a_worker(self) -> None:
        made = self.create(input=self.stack.models.script(tokens=12, delay_s=0.1))
        until(lambda: self.status(made["id"]) == "in_progress")
        self.stack.kill("worker")
        self.stack.start("worker")
        self.finish(made["id"])

    def dispatch_a_backlog(self) -> None:
        """Let more responses of a group wait than the first candidate query of a dispatch returns."""
        self.stack.stop("worker")
        for _ in range(BACKLOG):
            self.create(model="wide")
        self.stack.start("worker")
        until(self.stack.idle, within_s=30)

    def lose_the_model_server(self) -> None:
        self.stack.models.kill()
        made = self.create()
        until(lambda: self.stack.sql("select 1 from circuits"), within_s=20)
        self.command("doctor", expect=1)
        self.stack.models.restart()
        self.finish(made["id"])
        until(lambda: not self.stack.sql("select 1 from circuits"), within_s=20)

    def lose_an_api(self) -> None:
        """Kill an API while a foreground response runs; the sweeper cancels the response."""
        with self.foreground(tokens=300) as response_id:
            self.stack.kill("api")
        self.stack.start("api")
        self.finish(response_id, "cancelled")

    def stop_the_parts(self) -> None:
        """Stop API and worker while a foreground response runs; the next worker continues it to the end."""
        with self.foreground(tokens=30) as response_id:
            self.stack.stop("api")
            self.stack.stop("worker")
        self.stack.start_side_by_side("api", "worker")
        self.finish(response_id)

    @contextmanager
    def foreground(self, tokens: int) -> Iterator[str]:
        """A running foreground response whose client loses its API inside the block; yields its ID."""
        body = {"model": "scripted", "input": self.stack.models.script(tokens=tokens, delay_s=0.1)}
        headers = {"Authorization": f"Bearer {self.key}"}
        found = "select id from responses where not background and status = 'in_progress'"
        with ThreadPoolExecutor(1) as threads:
            call = threads.submit(self.http.post, "/responses", json=body, headers=headers)
            ((response_id,),) = until(lambda: self.stack.sql(found))
            yield str(response_id)
            assert isinstance(call.exception(), httpx2.TransportError)

    def lose_redis(self) -> None:
        """Without Redis, credits are counted in PostgreSQL."""
        whole, self.key = self.key, self.command("keys", "create", "--project", "lonely").strip()
        self.stack.kill("redis")
        for _ in range(2):
            self.create()
        self.create(service_tier="default", expect=429)
        self.stack.start("redis")
        until(self.stack.all_ended, within_s=30)
        self.key = whole

    def manage_keys_over_http(self) -> None:
        project = self.call("POST", "/projects", json={"name": "team-a"})
        self.call("GET", "/projects")
        self.call("GET", f"/projects/{project['id']}")
        keys = f"/projects/{project['id']}/api_keys"
        key = self.call("POST", keys, json={"name": "first"})
        self.call("GET", keys)
        self.call("GET", f"{keys}/{key['id']}")
        self.call("POST", f"{keys}/{key['id']}/rotate")
        self.call("DELETE", f"{keys}/{key['id']}")

    def operate(self) -> None:
        self.command("migrate")
        self.command("projects", "create", "team-b")
        self.command("keys", "create", "--project", "team-b", "--also", "team-a", "--rights", "read,cancel")
        self.command("keys", "list")
        self.command("keys", "list", "--project", "team-b")
        self.command("projects", "list")
        self.command("projects", "show", "team-b")
        self.command("projects", "usage", "--by", "key,tier,day")
        self.command("audit", "--since", "1d", "--project", "team-b")
        self.command("top", "--json")
        self.command("responses", "list", "--status", "completed", "--model", "scripted", "--project", "default")
        made = self.create(input=self.stack.models.script(tokens=20, delay_s=0.1))
        self.command("responses", "cancel", made["id"])
        self.command("responses", "requeue", made["id"])
        self.command("responses", "show", made["id"], "--json")
        listed = self.command("responses", "list")
        assert made["id"] in listed
        until(self.stack.all_ended, within_s=60)

    def use_the_core(self) -> None:
        """Call what otherwise only `backburner up`, or a lost reply from PostgreSQL, would call."""
        secret = new_secret()
        with open_core(self.stack.settings) as core:
            core.keys.register(secret)
            core.keys.register(secret, rights.ALL)
            assert core.attempts.recorded([]) == []
