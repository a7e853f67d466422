"""Give a model its own reasoning back in the next turn, with nothing stored on the server in between.

The packaged model does not think aloud. With one that does in backburner.toml: MODEL=qwen3-32b make examples
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
    # What a model cannot do is said before anything runs, if its configuration says what it can.
    if error.code != "unsupported_parameter":
        raise
    print(f"no reasoning: {error.message}")
    raise SystemExit(0) from None

thoughts = [item for item in first.output if item.type == "reasoning"]
print(f"{len(thoughts)} reasoning items;", first.output_text)
if not thoughts:
    print("the model thought nothing that its server tells")
    raise SystemExit(0)

# The words may be left out: what is encrypted holds them, and only this server, for this project, can read it.
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

# Changed on the way, it is refused.
changed = history[1] | {"encrypted_content": thoughts[0].encrypted_content[:-8] + "AAAAAAAA"}
refused = None
try:
    client.responses.create(input=[history[0], changed, history[-1]], **asked)
except BadRequestError as error:
    refused = error
print(refused)
assert refused is not None
assert refused.code == "invalid_encrypted_content"
