"""Cancel a response; the cancellation is immediate, final and idempotent."""

import time

from examples.connection import MODEL, connect

client = connect()

response = client.responses.create(
    model=MODEL, input="Write a very long story about a lighthouse, in ten chapters.", background=True
)
cancelled_response = client.responses.cancel(response.id)
print(response.id, response.status, "->", cancelled_response.status)
assert cancelled_response.status == "cancelled"

# A second cancel request returns the same object. Output that a worker produces after the cancellation is discarded.
assert client.responses.cancel(response.id) == cancelled_response
time.sleep(1)
assert client.responses.retrieve(response.id) == cancelled_response
print("still cancelled a second later")
