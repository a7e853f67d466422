"""Wait for a response to end with one long poll instead of many polls: `Prefer: wait=…`."""

from examples.connection import MODEL, connect

client = connect()

response = client.responses.create(model=MODEL, input="Name a color.", background=True, max_output_tokens=40)

# The server answers when the response has ended, or after 20 seconds; if it has not ended, repeat the poll.
poll_count = 0
while response.status in {"queued", "in_progress"}:
    response = client.responses.retrieve(response.id, extra_headers={"Prefer": "wait=20"})
    poll_count += 1

print(f"{response.status} after {poll_count} poll(s): {response.output_text}")
assert response.status in {"completed", "incomplete"}
