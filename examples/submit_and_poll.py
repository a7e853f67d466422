"""Submit a background response and poll it until it has ended."""

import time

from examples.connection import MODEL, connect

client = connect()

# The server answers immediately: the response is stored and waits for a worker.
response = client.responses.create(model=MODEL, input="Say hello to the sea.", background=True, max_output_tokens=60)
print(response.id, response.status)
assert response.status == "queued"

# From now on, any process that has the ID can poll the response, even after this process has exited.
while response.status in {"queued", "in_progress"}:
    # The server returns the recommended delay until the next poll.
    poll = client.responses.with_raw_response.retrieve(response.id)
    response = poll.parse()
    time.sleep(int(poll.headers.get("openai-poll-after-ms", 0)) / 1000)

# `incomplete` means that the output reached `max_output_tokens`.
print(response.status)
print(response.output_text)
assert response.status in {"completed", "incomplete"}
assert response.output_text
assert response.usage is not None
