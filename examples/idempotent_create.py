"""Retry a create without creating a second response, for example when the answer to the first one was lost."""

import uuid
from typing import Any

import openai
from connection import MODEL, connect

client = connect()

request: dict[str, Any] = {"model": MODEL, "input": "Say hello.", "background": True, "max_output_tokens": 30}
# Generate one key for each operation and store it with the operation. It is valid for 24 hours.
key = {"Idempotency-Key": str(uuid.uuid4())}

first = client.responses.create(**request, extra_headers=key)
again = client.responses.create(**request, extra_headers=key)
print(first.id, again.id)
assert again.id == first.id

# Reusing the key for a different request is an error.
refused = None
try:
    client.responses.create(**request | {"input": "Say goodbye."}, extra_headers=key)
except openai.BadRequestError as error:
    refused = error.code
print(refused)
assert refused == "idempotency_key_reuse"
