"""Stream, disconnect and resume with curl, to show the data on the wire."""

import json
import subprocess
from typing import Any

from connection import MODEL, connect

client = connect()
KEY = f"Authorization: Bearer {client.api_key}"
URL = str(client.base_url) + "responses"


def events(*words: str, stop_after: int | None = None) -> list[dict[str, Any]]:
    """The events that `curl -N ...` prints. The stream has `event:` and `data:` lines, and comments as keep-alives."""
    command = ["curl", "-sN", *words, "-H", KEY]
    print("$", " ".join(command).replace(client.api_key, "sk-bb-..."))
    found: list[dict[str, Any]] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as curl:
        assert curl.stdout is not None
        for line in curl.stdout:
            if line.startswith("data: {"):
                found.append(json.loads(line.removeprefix("data: ")))
            if stop_after is not None and len(found) >= stop_after:
                curl.kill()
                break
    return found


request = {"model": MODEL, "input": "Say hello.", "background": True, "stream": True, "max_output_tokens": 40}
first = events(URL, "-H", "Content-Type: application/json", "-d", json.dumps(request), stop_after=4)
response_id, last = first[0]["response"]["id"], first[-1]["sequence_number"]

rest = events(f"{URL}/{response_id}?stream=true&starting_after={last}")
print([event["type"] for event in first + rest])
assert [event["sequence_number"] for event in first + rest] == list(range(len(first + rest)))
assert rest[-1]["response"] == json.loads(client.responses.with_raw_response.retrieve(response_id).text)
