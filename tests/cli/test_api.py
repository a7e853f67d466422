"""`backburner api` exits with an error if another program listens on its address."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from core.settings import PREFIX, Settings
from local.processes import environment

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("is_shared", [False, True], ids=["another program", "an API that shares its address"])
def test_an_api_on_an_address_in_use_exits_with_an_error_of_one_line(
    core: object, settings: Settings, is_shared: bool
) -> None:
    with socket.socket() as listener:
        if is_shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        _, port = listener.getsockname()
        assert settings.database_url is not None
        assert settings.redis_url is not None
        variables = {
            "DATABASE_URL": settings.database_url.get_secret_value(),
            "REDIS_URL": settings.redis_url.get_secret_value(),
            "PORT": str(port),
        }

        process = subprocess.run(
            [sys.executable, "-m", "cli.main", "api"],
            cwd=ROOT,
            env=environment.process_variables() | {PREFIX + name: value for name, value in variables.items()},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert process.returncode == 1
    assert (
        process.stderr
        == f"Error: BACKBURNER_PORT: cannot listen on port {port} of 127.0.0.1: Address already in use.\n"
    )
