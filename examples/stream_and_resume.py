"""Stream a background response, disconnect, and resume the stream with the next event."""

from examples.connection import MODEL, connect

client = connect()

prompt = "Tell a short story about the sea."
stream = client.responses.create(model=MODEL, input=prompt, background=True, stream=True, max_output_tokens=80)
response_id, last_number, text = "", -1, ""
for event in stream:
    last_number = event.sequence_number
    if event.type == "response.created":
        response_id = event.response.id
    if event.type == "response.output_text.delta":
        text += event.delta
        if text.count(" ") >= 5:
            break
# Disconnecting does not affect the response.
stream.close()
print(f"{text} [... disconnected after event {last_number}]")

# With the ID and the last sequence number, any process can resume the stream from any API server, even an hour later.
for event in client.responses.retrieve(response_id, stream=True, starting_after=last_number):
    assert event.sequence_number == last_number + 1
    last_number = event.sequence_number
    if event.type == "response.output_text.delta":
        text += event.delta
        print(event.delta, end="", flush=True)

final_response = client.responses.retrieve(response_id)
print(f"\n{final_response.status} after {last_number + 1} events")
assert final_response.status in {"completed", "incomplete"}
assert text == final_response.output_text
