"""Store a prompt, use it with variables, and add a version. Existing responses do not change."""

from typing import Any

from connection import MODEL, connect
from openai.types.responses import Response

client = connect()


def call(method: str, path: str, body: object = None) -> dict[str, Any]:
    """Send a request to `/v1/prompts`, a Backburner extension for which the official client has no methods."""
    return getattr(client, method)(f"/prompts{path}", cast_to=dict[str, Any], **({"body": body} if body else {}))


def answer(**asked: Any) -> Response:
    """Create a response from a prompt, wait for it to end, and return it."""
    response = client.responses.create(prompt=asked, background=True)
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
names = [prompt["name"] for prompt in call("get", "?limit=100")["data"]]
prompt = call("post", "", {"name": f"greeting {len(names)}", "template": template})
first = answer(id=prompt["id"], variables={"name": "Ada"})

call("post", f"/{prompt['id']}/versions", {"template": {**template, "input": "Name {{name}}'s animal."}})
call("post", f"/{prompt['id']}", {"default_version": "2"})
second = answer(id=prompt["id"], variables={"name": "Ada", "role": "a zoologist"})
again = answer(id=prompt["id"], version="1", variables={"name": "Bob"})
call("delete", f"/{prompt['id']}")

for response in (first, second, again):
    print(f"version {response.prompt.version}, {response.instructions} {response.output_text!r}")

asked = [client.responses.input_items.list(one.id).data[0].content[0].text for one in (first, second, again)]
assert asked == ["Say hello to Ada.", "Name Ada's animal.", "Say hello to Bob."]
