"""The message of `backburner up` when all parts run: addresses, the API key, and commands to try."""

import json
import shlex

from local import stack, web
from local.home import Home
from local.stack import Stack


def welcome_message(running_stack: Stack, home: Home) -> str:
    """The addresses of a running stack, its API key, and commands to try."""
    stack_settings = running_stack.settings
    entries = {
        "API": web.origin(stack_settings.host, stack_settings.port) + "/v1",
        "Docs": web.origin(stack_settings.host, stack_settings.port) + "/docs",
        "Flower": web.origin(stack_settings.host, stack_settings.flower_port),
        "API key": stack.api_key(stack_settings),
        "Model": ", ".join(running_stack.models) or f"none: define one in {stack_settings.config}",
        "Logs": str(home.logs),
    }
    lines = "\n".join(f"  {name:<9}{value}" for name, value in entries.items())
    return (
        f"\nBackburner is up.\n\n{lines}\n\n"
        f"Try it:\n\n  {curl_command(running_stack)}\n\n"
        f"Then poll the response, with the `id` from the answer:\n\n  {poll_command(running_stack)}\n\n"
        "The folder `examples` has scripts for the `openai` client. Press Ctrl-C to stop everything."
    )


def curl_command(running_stack: Stack) -> str:
    """A shell command that submits a background response."""
    url = web.origin(running_stack.settings.host, running_stack.settings.port) + "/v1/responses"
    model_name = running_stack.models[0] if running_stack.models else "MODEL"
    # Without a limit, a small model may write for minutes.
    body = {"model": model_name, "input": "Say hello.", "max_output_tokens": 100, "background": True}
    headers = [f"Authorization: Bearer {stack.api_key(running_stack.settings)}", "Content-Type: application/json"]
    arguments = ["curl", url, *(word for header in headers for word in ("-H", header)), "-d", json.dumps(body)]
    return shlex.join(arguments)


def poll_command(running_stack: Stack) -> str:
    """A shell command that polls a response; the user must replace the placeholder with the ID of the response."""
    url = web.origin(running_stack.settings.host, running_stack.settings.port) + "/v1/responses/resp_..."
    return shlex.join(["curl", url, "-H", f"Authorization: Bearer {stack.api_key(running_stack.settings)}"])
