"""Connects to Backburner: OPENAI_BASE_URL, OPENAI_API_KEY and MODEL, or by default the stack of `make up`."""

import os
from pathlib import Path

from openai import OpenAI

HOME = Path(os.environ.get("BACKBURNER_HOME", ".backburner"))

MODEL = os.environ.get("MODEL", "smollm2-135m")


def connect() -> OpenAI:
    """The official client, configured for Backburner: only the base URL differs from OpenAI's own API."""
    return OpenAI(
        base_url=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8080/v1"),
        api_key=os.environ.get("OPENAI_API_KEY") or (HOME / "api_key").read_text().strip(),
    )
