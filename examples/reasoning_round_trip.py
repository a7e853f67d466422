"""Send the reasoning of a model back with the next question, without storing a response on the server.

The packaged model produces no reasoning. To use a reasoning model in backburner.toml: MODEL=qwen3-32b make examples
"""

from typing import Any

from openai import BadRequestError

from examples.connection import MODEL, connect

client = connect()

history: list[Any] = [{"role": "user", "content": "Which is larger, 9.11 or 9.9?"}]
parameters: dict[str, Any] = {
    "model": MODEL,
    "store": False,
    "reasoning": {"effort": "low"},
    "include": ["reasoning.encrypted_content"],
    "max_output_tokens": 2000,
}
try:
    first_response = client.responses.create(input=history, **parameters)
except BadRequestError as error:
    # If the configuration lists the capabilities of the model, unsupported parameters are rejected immediately.
    if error.code != "unsupported_parameter":
        raise
    print(f"no reasoning: {error.message}")
    raise SystemExit(0) from None

reasoning_items = [item for item in first_response.output if item.type == "reasoning"]
print(f"{len(reasoning_items)} reasoning items;", first_response.output_text)
if not reasoning_items:
    print("the model server returned no reasoning")
    raise SystemExit(0)

# The text of the reasoning can be omitted, because `encrypted_content` contains it. Only this server can decrypt the
# content, and only for this project.
for item in first_response.output:
    item_fields = item.model_dump(exclude_none=True)
    if item.type == "reasoning":
        assert item.encrypted_content
        item_fields = {"type": "reasoning", "summary": [], "encrypted_content": item.encrypted_content}
    history.append(item_fields)
history.append({"role": "user", "content": "Why?"})
second_response = client.responses.create(input=history, **parameters)
print(second_response.status, second_response.output_text)
assert second_response.status in {"completed", "incomplete"}

# Modified encrypted content is rejected.
modified_item = history[1] | {"encrypted_content": reasoning_items[0].encrypted_content[:-8] + "AAAAAAAA"}
rejection = None
try:
    client.responses.create(input=[history[0], modified_item, history[-1]], **parameters)
except BadRequestError as error:
    rejection = error
print(rejection)
assert rejection is not None
assert rejection.code == "invalid_encrypted_content"
