"""Store a prompt, create responses from it with variables, and add a second version of the prompt."""

from typing import Any

from openai.types.responses import Response

from examples.connection import MODEL, connect

client = connect()


def send_request(method: str, path: str, body: object = None) -> dict[str, Any]:
    """Send a request to `/v1/prompts`, a Backburner extension for which the official client has no methods."""
    options = {} if body is None else {"body": body}
    return getattr(client, method)(f"/prompts{path}", cast_to=dict[str, Any], **options)


def create_and_wait(**prompt_fields: Any) -> Response:
    """Create a response from a prompt, wait for its end, and return it."""
    response = client.responses.create(prompt=prompt_fields, background=True)
    while response.status in {"queued", "in_progress"}:
        response = client.responses.retrieve(response.id, extra_headers={"Prefer": "wait=20"})
    assert response.status in {"completed", "incomplete"}, response
    return response


template = {
    "model": MODEL,
    "max_output_tokens": 40,
    "instructions": "You are {{role}}.",
    "input": [{"role": "user", "content": "Say hello to {{name}}."}],
    "variables": {"name": {}, "role": {"default": "a friendly assistant"}},
}
prompt_count = len(send_request("get", "?limit=100")["data"])  # for a name that is not in use yet
prompt = send_request("post", "", {"name": f"greeting {prompt_count}", "template": template})
first_response = create_and_wait(id=prompt["id"], variables={"name": "Ada"})

send_request("post", f"/{prompt['id']}/versions", {"template": {**template, "input": "Name {{name}}'s animal."}})
send_request("post", f"/{prompt['id']}", {"default_version": "2"})
second_response = create_and_wait(id=prompt["id"], variables={"name": "Ada", "role": "a zoologist"})
third_response = create_and_wait(id=prompt["id"], version="1", variables={"name": "Bob"})
send_request("delete", f"/{prompt['id']}")

for response in (first_response, second_response, third_response):
    print(f"version {response.prompt.version}, {response.instructions} {response.output_text!r}")

input_texts = [
    client.responses.input_items.list(response.id).data[0].content[0].text
    for response in (first_response, second_response, third_response)
]
assert input_texts == ["Say hello to Ada.", "Name Ada's animal.", "Say hello to Bob."]
