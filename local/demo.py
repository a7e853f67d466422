"""Command `backburner demo`: follows one background response to completion and cancels another one."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from core import errors, settings
from core.config import catalog
from core.jsonio import JsonObject
from core.settings import Settings
from local import ports, stack, web
from local.home import Home
from local.processes import lock
from local.processes.interrupts import Interruption, Interrupts
from local.up import load_fresh_settings

QUESTION = "Tell me about the sea in one short paragraph."
LONG_PROMPT = "Write a very long story about a lighthouse, in ten chapters."
RESPONSE_TIMEOUT_S = 180.0
STARTUP_TIMEOUT_S = 60.0
OBSERVATION_TIME_S = 2.0
POLL_INTERVAL_S = 0.05


class DemoError(errors.Error):
    """The demo observed an unexpected result."""


@dataclass(frozen=True)
class Demo:
    """A client of the API that prints what it does to the console.

    Args:
        tick: called repeatedly while the client waits.
    """

    url: str
    key: str
    model: str
    tick: Callable[[], None]
    console: Console

    def run(self) -> None:
        """Poll one background response until it is completed, and cancel another response while it runs.

        Raises:
            DemoError: a response had an unexpected status, or a request failed.
        """
        self._print_line(f"\nA background response of {self.model}: “{QUESTION}”")
        final_response = self._poll_until(self._submit_prompt(QUESTION), target_status="completed")
        self._print_line(_output_text(final_response), style="green")
        self._print_line(f"\nAnother background response, cancelled while it runs: “{LONG_PROMPT}”")
        running_response = self._poll_until(self._submit_prompt(LONG_PROMPT), target_status="in_progress")
        cancelled_response = self._send_request("POST", f"/{running_response['id']}/cancel")
        _expect_status(cancelled_response, {"cancelled"})
        self._print_line("cancel → cancelled")
        self._check_still_cancelled(cancelled_response["id"])
        self._print_line(f"still cancelled {OBSERVATION_TIME_S:g} s later\n")

    def _submit_prompt(self, prompt: str) -> JsonObject:
        return self._send_request("POST", "", {"model": self.model, "input": prompt, "background": True})

    def _poll_until(self, response: JsonObject, *, target_status: str) -> JsonObject:
        """Poll a response and show its status changes until it has the target status."""
        self._print_line(response["id"])
        started_at = time.monotonic()
        statuses = [response["status"]]
        with Live(console=self.console, auto_refresh=False, transient=True) as display:
            while True:
                elapsed_s = time.monotonic() - started_at
                progress = f"{' → '.join(statuses)}  {elapsed_s:.1f} s"
                display.update(Text(progress), refresh=True)
                _expect_status(response, {"queued", "in_progress", target_status})
                if response["status"] == target_status:
                    break
                if elapsed_s > RESPONSE_TIMEOUT_S:
                    raise DemoError(f"{response['id']} is still {response['status']} after {elapsed_s:.0f} s.")
                self._wait_until_next_poll()
                response = self._send_request("GET", f"/{response['id']}")
                if response["status"] != statuses[-1]:
                    statuses.append(response["status"])
        self._print_line(progress)
        return response

    def _print_line(self, line: str, style: str = "") -> None:
        self.console.print(Text(line, style=style), soft_wrap=True)

    def _check_still_cancelled(self, response_id: str) -> None:
        deadline = time.monotonic() + OBSERVATION_TIME_S
        while time.monotonic() < deadline:
            _expect_status(self._send_request("GET", f"/{response_id}"), {"cancelled"})
            self._wait_until_next_poll()

    def _wait_until_next_poll(self) -> None:
        self.tick()
        time.sleep(POLL_INTERVAL_S)

    def _send_request(self, method: str, path: str, body: JsonObject | None = None) -> JsonObject:
        url = f"{self.url}/v1/responses{path}"
        try:
            answer = web.call(method, url, key=self.key, body=body)
        except (OSError, ValueError) as error:
            raise DemoError(f"{method} {url}: {error}.") from error
        if "status" not in answer:
            raise DemoError(f"{method} {url}: {(answer.get('error') or {}).get('message', answer)}")
        return answer


def demo() -> None:
    """Run the demo on the stack that is already running in BACKBURNER_HOME, or else on a new stack.

    Raises:
        errors.Error: the stack could not be started, or a result was unexpected.
    """
    console = Console(highlight=False)
    home = Home.at(settings.load().home)
    with Interrupts() as interrupts:
        try:
            with lock.lock_folder(home):
                # Use free ports, so that the demo cannot conflict with another server on this machine.
                port_settings = {"port": ports.free_port(), "flower_port": ports.free_port()}
                demo_settings = load_fresh_settings(home).model_copy(update=port_settings)
                with stack.running(
                    demo_settings, home, workers=1, print_line=click.echo, interrupts=interrupts
                ) as running_stack:
                    _create_demo(
                        running_stack.settings, running_stack.models, running_stack.supervisor.tick, console
                    ).run()
                    console.print("Stopping ...")
        except lock.StackAlreadyRunningError as error:
            console.print(f"{error} Using it.", soft_wrap=True)
            _run_on_existing_stack(interrupts, console)
        except Interruption:
            raise click.exceptions.Exit(130) from None


def _run_on_existing_stack(interrupts: Interrupts, console: Console) -> None:
    deadline = time.monotonic() + STARTUP_TIMEOUT_S
    while True:
        # Load the settings again in each iteration: a stack that is starting writes its settings only after a while.
        stack_settings = settings.load()
        health_url = web.origin(stack_settings.host, stack_settings.port) + "/healthz"
        if stack_settings.api_key and web.status(health_url) == 200:
            break
        if time.monotonic() > deadline:
            raise DemoError(f"The running stack did not answer within {STARTUP_TIMEOUT_S:.0f} s.")
        interrupts.raise_if_signalled()
        time.sleep(POLL_INTERVAL_S)
    _create_demo(
        stack_settings, sorted(catalog.load(stack_settings.config).models), interrupts.raise_if_signalled, console
    ).run()


def _create_demo(stack_settings: Settings, models: list[str], tick: Callable[[], None], console: Console) -> Demo:
    if not models:
        raise errors.BadSettings(f"No model is configured in {stack_settings.config}.")
    return Demo(
        url=web.origin(stack_settings.host, stack_settings.port),
        key=stack.api_key(stack_settings),
        model=models[0],
        tick=tick,
        console=console,
    )


def _expect_status(response: JsonObject, statuses: set[str]) -> None:
    if response["status"] not in statuses:
        details = response.get("error") or response.get("incomplete_details") or {}
        reason = details.get("message") or details.get("reason") or "no reason given"
        raise DemoError(f"{response['id']} is {response['status']}: {reason}")


def _output_text(response: JsonObject) -> str:
    parts = [part for item in response["output"] if item["type"] == "message" for part in item["content"]]
    return "".join(part.get("text", "") for part in parts)
