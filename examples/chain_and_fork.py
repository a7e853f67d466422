"""Continue a conversation with `previous_response_id`, and fork it: continue the same response twice."""

from openai.types.responses import Response

from examples.connection import MODEL, connect

client = connect()


def wait_for_end(response: Response) -> Response:
    """Wait for the response to end, and return it."""
    while response.status in {"queued", "in_progress"}:
        response = client.responses.retrieve(response.id, extra_headers={"Prefer": "wait=20"})
    assert response.status in {"completed", "incomplete"}, response
    return response


def ask_question(question: str, previous_response: Response | None = None) -> Response:
    """Ask a question with `previous_response` and its ancestors as context; instructions are not inherited."""
    return client.responses.create(
        model=MODEL,
        input=question,
        previous_response_id=previous_response.id if previous_response else None,
        background=True,
        max_output_tokens=40,
    )


root = wait_for_end(ask_question("My name is Ada. Name an animal."))
# Two children of one response are independent of each other and run concurrently.
first_child, second_child = ask_question("Name another one.", root), ask_question("What is my name?", root)
first_child, second_child = wait_for_end(first_child), wait_for_end(second_child)
grandchild = wait_for_end(ask_question("And one more.", first_child))

for response in (root, first_child, second_child, grandchild):
    print(f"{response.id} after {response.previous_response_id}: {response.output_text!r}")

# The input items of the grandchild are from its own branch only. Incomplete output is not part of the context.
items = client.responses.input_items.list(grandchild.id, order="asc").data
questions = [item.content[0].text for item in items if item.role == "user"]
assert questions == ["My name is Ada. Name an animal.", "Name another one.", "And one more."]
