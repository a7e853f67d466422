"""Stream a response, disconnect and resume the stream with curl, to show the data on the wire."""

import json
import subprocess
from typing import Any

from examples.connection import MODEL, connect

client = connect()
KEY_HEADER = f"Authorization: Bearer {client.api_key}"
URL = str(client.base_url) + "responses"


def run_curl(*arguments: str, stop_after: int | None = None) -> list[dict[str, Any]]:
    """Run curl, stop it after `stop_after` events if this is not None, and return the events.

    The stream consists of `event:` and `data:` lines, and of comments that keep the connection alive.
    """
    command = ["curl", "-sN", *arguments, "-H", KEY_HEADER]
    print("$", " ".join(command).replace(client.api_key, "sk-bb-..."))
    events: list[dict[str, Any]] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as curl:
        assert curl.stdout is not None
        for line in curl.stdout:
            if line.startswith("data: {"):
                events.append(json.loads(line.removeprefix("data: ")))
            if stop_after is not None and len(events) >= stop_after:
                curl.kill()
                break
    return events


request = {"model": MODEL, "input": "Say hello.", "background": True, "stream": True, "max_output_tokens": 40}
first_events = run_curl(URL, "-H", "Content-Type: application/json", "-d", json.dumps(request), stop_after=4)
response_id, last_number = first_events[0]["response"]["id"], first_events[-1]["sequence_number"]

remaining_events = run_curl(f"{URL}/{response_id}?stream=true&starting_after={last_number}")
all_events = first_events + remaining_events
print([event["type"] for event in all_events])
assert [event["sequence_number"] for event in all_events] == list(range(len(all_events)))
assert remaining_events[-1]["response"] == json.loads(client.responses.with_raw_response.retrieve(response_id).text)
