"""Command `backburner demo`: follows one background response to completion and cancels another one."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from core import errors, settings
from core.config import catalog
from core.settings import Settings
from local import ports, stack, web
from local.home import Home
from local.processes import lock
from local.processes.interrupts import Interrupted, Interrupts
from local.up import fresh_settings

QUESTION = "Tell me about the sea in one short paragraph."
LONG_ORDER = "Write a very long story about a lighthouse, in ten chapters."
DONE_WITHIN_S = 180.0
UP_WITHIN_S = 60.0
STAYS_FOR_S = 2.0
POLL_EVERY_S = 0.05


class WentWrong(errors.Error):
    """The demo observed an unexpected result."""


@dataclass(frozen=True)
class Demo:
    """A client session printed to the console; `tick` is called repeatedly while the client waits."""

    url: str
    key: str
    model: str
    tick: Callable[[], None]
    console: Console

    def show(self) -> None:
        """Run both scenes.

        Raises:
            WentWrong: a response had an unexpected status, or a request failed.
        """
        self._say(f"\nA background response of {self.model}: “{QUESTION}”")
        finished = self._follow(self._submit(QUESTION), until="completed")
        self._say(_text(finished), style="green")
        self._say(f"\nAnother one, cancelled while it runs: “{LONG_ORDER}”")
        running = self._follow(self._submit(LONG_ORDER), until="in_progress")
        cancelled = self._call("POST", f"/{running['id']}/cancel")
        _expect(cancelled, {"cancelled"})
        self._say("cancel → cancelled")
        self._stays_cancelled(cancelled["id"])
        self._say(f"still cancelled {STAYS_FOR_S:g} s later\n")

    def _submit(self, order: str) -> dict[str, Any]:
        return self._call("POST", "", {"model": self.model, "input": order, "background": True})

    def _follow(self, response: dict[str, Any], *, until: str) -> dict[str, Any]:
        """Poll a response and show its status changes until it has the status `until`."""
        self._say(response["id"])
        started_at = time.monotonic()
        seen = [response["status"]]
        with Live(console=self.console, auto_refresh=False, transient=True) as line:
            while True:
                elapsed_s = time.monotonic() - started_at
                progress = f"{' → '.join(seen)}  {elapsed_s:.1f} s"
                line.update(Text(progress), refresh=True)
                _expect(response, {"queued", "in_progress", until})
                if response["status"] == until:
                    break
                if elapsed_s > DONE_WITHIN_S:
                    raise WentWrong(f"{response['id']} is still {response['status']} after {elapsed_s:.0f} s.")
                self._wait()
                response = self._call("GET", f"/{response['id']}")
                if response["status"] != seen[-1]:
                    seen.append(response["status"])
        self._say(progress)
        return response

    def _say(self, line: str, style: str = "") -> None:
        self.console.print(Text(line, style=style), soft_wrap=True)

    def _stays_cancelled(self, response_id: str) -> None:
        ends_at = time.monotonic() + STAYS_FOR_S
        while time.monotonic() < ends_at:
            _expect(self._call("GET", f"/{response_id}"), {"cancelled"})
            self._wait()

    def _wait(self) -> None:
        self.tick()
        time.sleep(POLL_EVERY_S)

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        url = f"{self.url}/v1/responses{path}"
        try:
            answer = web.call(method, url, key=self.key, body=body)
        except (OSError, ValueError) as error:
            raise WentWrong(f"{method} {url}: {error}.") from error
        if "status" not in answer:
            raise WentWrong(f"{method} {url}: {(answer.get('error') or {}).get('message', answer)}")
        return answer


def demo() -> None:
    """Run the demo on the stack that is already running in this folder, or else on a new one.

    Raises:
        errors.Error: the stack could not be started, or a result was unexpected.
    """
    console = Console(highlight=False)
    home = Home.at(settings.load().home)
    with Interrupts() as interrupts:
        try:
            with lock.locked(home):
                # Use free ports, so that the demo cannot conflict with another server on this machine.
                free = {"port": ports.free(), "flower_port": ports.free()}
                chosen = fresh_settings(home).model_copy(update=free)
                with stack.running(chosen, home, workers=1, say=click.echo, interrupts=interrupts) as running:
                    _demo(running.settings, running.models, running.supervisor.tick, console).show()
                    console.print("Stopping ...")
        except lock.AlreadyRuns as error:
            console.print(f"{error} Using it.", soft_wrap=True)
            _on_running_stack(interrupts, console)
        except Interrupted:
            raise click.exceptions.Exit(130) from None


def _on_running_stack(interrupts: Interrupts, console: Console) -> None:
    deadline = time.monotonic() + UP_WITHIN_S
    while True:
        found = settings.load()  # reload: a stack that is still starting has not written its addresses yet
        if found.api_key and web.status(web.origin(found.host, found.port) + "/healthz") == 200:
            break
        if time.monotonic() > deadline:
            raise WentWrong(f"The running stack did not answer within {UP_WITHIN_S:.0f} s.")
        interrupts.check()
        time.sleep(POLL_EVERY_S)
    _demo(found, sorted(catalog.load(found.config).models), interrupts.check, console).show()


def _demo(made: Settings, models: list[str], tick: Callable[[], None], console: Console) -> Demo:
    if not models:
        raise errors.BadSettings(f"No model is configured in {made.config}.")
    return Demo(
        url=web.origin(made.host, made.port),
        key=stack.api_key(made),
        model=models[0],
        tick=tick,
        console=console,
    )


def _expect(response: dict[str, Any], statuses: set[str]) -> None:
    if response["status"] not in statuses:
        why = response.get("error") or response.get("incomplete_details") or {}
        reason = why.get("message") or why.get("reason") or "no reason given"
        raise WentWrong(f"{response['id']} is {response['status']}: {reason}")


def _text(response: dict[str, Any]) -> str:
    parts = [part for item in response["output"] if item["type"] == "message" for part in item["content"]]
    return "".join(part.get("text", "") for part in parts)
