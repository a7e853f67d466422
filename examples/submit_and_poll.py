"""Submit a response in the background and poll it until it has ended."""

import time

from connection import MODEL, connect

client = connect()

# Answered at once: the response is stored and waits for a worker.
response = client.responses.create(model=MODEL, input="Say hello to the sea.", background=True, max_output_tokens=60)
print(response.id, response.status)
assert response.status == "queued"

# From here on any process that has the ID can ask for it; this one may end and come back.
while response.status in {"queued", "in_progress"}:
    # The server says how long to wait before the next poll.
    poll = client.responses.with_raw_response.retrieve(response.id)
    response = poll.parse()
    time.sleep(int(poll.headers.get("openai-poll-after-ms", 0)) / 1000)

# `incomplete` is the end of a text that grew longer than `max_output_tokens`.
print(response.status)
print(response.output_text)
assert response.status in {"completed", "incomplete"}
assert response.output_text
assert response.usage is not None
