"""Cancel a response on its way: at once, for good, and as often as you like."""

import time

from connection import MODEL, connect

client = connect()

response = client.responses.create(
    model=MODEL, input="Write a very long story about a lighthouse, in ten chapters.", background=True
)
cancelled = client.responses.cancel(response.id)
print(response.id, response.status, "->", cancelled.status)
assert cancelled.status == "cancelled"

# A second cancel finds what the first one made of it; nothing a worker still says changes that.
assert client.responses.cancel(response.id) == cancelled
time.sleep(1)
assert client.responses.retrieve(response.id) == cancelled
print("still cancelled a second later")
