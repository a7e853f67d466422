"""Pass a model's own reasoning back in the next turn, without storing anything on the server.

The packaged model produces no reasoning. To use one from backburner.toml that does: MODEL=qwen3-32b make examples
"""

from typing import Any

from connection import MODEL, connect
from openai import BadRequestError

client = connect()

history: list[Any] = [{"role": "user", "content": "Which is larger, 9.11 or 9.9?"}]
asked: dict[str, Any] = {
    "model": MODEL,
    "store": False,
    "reasoning": {"effort": "low"},
    "include": ["reasoning.encrypted_content"],
    "max_output_tokens": 2000,
}
try:
    first = client.responses.create(input=history, **asked)
except BadRequestError as error:
    # If the configuration lists what the model supports, unsupported parameters are rejected before anything runs.
    if error.code != "unsupported_parameter":
        raise
    print(f"no reasoning: {error.message}")
    raise SystemExit(0) from None

thoughts = [item for item in first.output if item.type == "reasoning"]
print(f"{len(thoughts)} reasoning items;", first.output_text)
if not thoughts:
    print("the model server returned no reasoning")
    raise SystemExit(0)

# The text of the reasoning can be omitted: `encrypted_content` contains it, and only this server can decrypt it, and
# only for this project.
for item in first.output:
    sent = item.model_dump(exclude_none=True)
    if item.type == "reasoning":
        assert item.encrypted_content
        sent = {"type": "reasoning", "summary": [], "encrypted_content": item.encrypted_content}
    history.append(sent)
history.append({"role": "user", "content": "Why?"})
second = client.responses.create(input=history, **asked)
print(second.status, second.output_text)
assert second.status in {"completed", "incomplete"}

# Modified encrypted content is rejected.
changed = history[1] | {"encrypted_content": thoughts[0].encrypted_content[:-8] + "AAAAAAAA"}
refused = None
try:
    client.responses.create(input=[history[0], changed, history[-1]], **asked)
except BadRequestError as error:
    refused = error
print(refused)
assert refused is not None
assert refused.code == "invalid_encrypted_content"
