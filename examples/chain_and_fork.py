"""Continue a conversation with `previous_response_id`, twice from the same response."""

from connection import MODEL, connect
from openai.types.responses import Response

client = connect()


def ended(response: Response) -> Response:
    """Wait for the response to end, and return it."""
    while response.status in {"queued", "in_progress"}:
        response = client.responses.retrieve(response.id, extra_headers={"Prefer": "wait=20"})
    assert response.status in {"completed", "incomplete"}, response
    return response


def ask(question: str, after: Response | None = None) -> Response:
    """Ask in the background, in the context of `after` and its predecessors. Instructions are not inherited."""
    return client.responses.create(
        model=MODEL,
        input=question,
        previous_response_id=after.id if after else None,
        background=True,
        max_output_tokens=40,
    )


root = ended(ask("My name is Ada. Name an animal."))
# Two children of one response are independent of each other and run concurrently.
fork, other = ask("Name another one.", root), ask("What is my name?", root)
fork, other = ended(fork), ended(other)
leaf = ended(ask("And one more.", fork))

for response in (root, fork, other, leaf):
    print(f"{response.id}  after {response.previous_response_id}: {response.output_text!r}")

# The input items of the last response come from its own branch only. Incomplete output is not part of the context.
items = client.responses.input_items.list(leaf.id, order="asc").data
asked = [item.content[0].text for item in items if item.role == "user"]
assert asked == ["My name is Ada. Name an animal.", "Name another one.", "And one more."]
