"""Requests the health endpoints of a process, as a supervisor does."""

import json
import urllib.error
import urllib.request
from typing import Any


def get_health(port: int, path: str = "/healthz") -> tuple[int, dict[str, Any]]:
    """Return the status and the body of a health endpoint; the status is 0 if the connection fails."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)
    except OSError:
        return 0, {}
