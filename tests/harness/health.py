"""Health checks of a process, as a supervisor requests them."""

import json
import urllib.error
import urllib.request
from typing import Any


def health(port: int, path: str = "/healthz") -> tuple[int, dict[str, Any]]:
    """Return status and body of a health endpoint; status 0 if nothing answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)
    except OSError:
        return 0, {}
