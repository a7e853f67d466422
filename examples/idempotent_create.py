"""Repeat a create without making a second response: what to do when the answer to the first got lost."""

import uuid
from typing import Any

import openai
from connection import MODEL, connect

client = connect()

request: dict[str, Any] = {"model": MODEL, "input": "Say hello.", "background": True, "max_output_tokens": 30}
# Made once for what you want to happen once, and kept with it; good for 24 hours.
key = {"Idempotency-Key": str(uuid.uuid4())}

first = client.responses.create(**request, extra_headers=key)
again = client.responses.create(**request, extra_headers=key)
print(first.id, again.id)
assert again.id == first.id

# The same key for another request is a mistake, and is refused as one.
refused = None
try:
    client.responses.create(**request | {"input": "Say goodbye."}, extra_headers=key)
except openai.BadRequestError as error:
    refused = error.code
print(refused)
assert refused == "idempotency_key_reuse"
