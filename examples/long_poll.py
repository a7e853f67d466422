"""Wait for a response to end with one long poll instead of many polls: `Prefer: wait=…`."""

from examples.connection import MODEL, connect

client = connect()

response = client.responses.create(model=MODEL, input="Name a colour.", background=True, max_output_tokens=40)

# The server answers as soon as the response has ended, or after 20 seconds if it has not; then repeat the poll.
polls = 0
while response.status in {"queued", "in_progress"}:
    response = client.responses.retrieve(response.id, extra_headers={"Prefer": "wait=20"})
    polls += 1

print(f"{response.status} after {polls} request(s): {response.output_text}")
assert response.status in {"completed", "incomplete"}
