"""Creates a client for the server at OPENAI_BASE_URL, or by default for the stack that `make up` started."""

import os
from pathlib import Path

from openai import OpenAI

PORT = os.environ.get("BACKBURNER_PORT", "8080")
HOME = Path(os.environ.get("BACKBURNER_HOME", ".backburner"))

MODEL = os.environ.get("MODEL", "smollm2-135m")


def connect() -> OpenAI:
    """Create the official client of OpenAI; only the base URL and the key differ from those for OpenAI's own API."""
    return OpenAI(
        base_url=os.environ.get("OPENAI_BASE_URL", f"http://127.0.0.1:{PORT}/v1"),
        api_key=os.environ.get("OPENAI_API_KEY") or (HOME / "api_key").read_text().strip(),
    )
