"""Connects to the server at OPENAI_BASE_URL, or by default to the stack that `make up` started."""

import os
from pathlib import Path

from openai import OpenAI

HOME = Path(os.environ.get("BACKBURNER_HOME", ".backburner"))

MODEL = os.environ.get("MODEL", "smollm2-135m")


def connect() -> OpenAI:
    """Create the official client for Backburner. For OpenAI's own API, only the base URL and the key differ."""
    return OpenAI(
        base_url=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8080/v1"),
        api_key=os.environ.get("OPENAI_API_KEY") or (HOME / "api_key").read_text().strip(),
    )
