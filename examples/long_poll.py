"""Wait for the end of a response with one request instead of many: `Prefer: wait=…`."""

from connection import MODEL, connect

client = connect()

response = client.responses.create(model=MODEL, input="Name a colour.", background=True, max_output_tokens=40)

# The answer comes as soon as the response has ended, and after 20 seconds at the latest, ended or not: so ask again.
polls = 0
while response.status in {"queued", "in_progress"}:
    response = client.responses.retrieve(response.id, extra_headers={"Prefer": "wait=20"})
    polls += 1

print(f"{response.status} after {polls} request(s): {response.output_text}")
assert response.status in {"completed", "incomplete"}
