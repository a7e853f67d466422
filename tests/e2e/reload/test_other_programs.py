"""SIGHUP does not end a program that reads no models."""

from local import web
from tests.e2e.reload.reloading import send_hangup
from tests.harness.stack import Stack


def test_flower_ignores_sighup(stack: Stack) -> None:
    stack.up("valkey", "flower")
    send_hangup(stack, "flower")

    # SIGHUP would end a process that does not ignore it before the process could answer.
    assert web.status(f"http://127.0.0.1:{stack.flower_port}/") == 200
