"""Repeat a create request without creating a second response, for example because the first answer was lost."""

import uuid
from typing import Any

import openai

from examples.connection import MODEL, connect

client = connect()

request: dict[str, Any] = {"model": MODEL, "input": "Say hello.", "background": True, "max_output_tokens": 30}
# Generate one key for each operation, and store the key with the operation. Keys are valid for 24 hours.
key_header = {"Idempotency-Key": str(uuid.uuid4())}

first_response = client.responses.create(**request, extra_headers=key_header)
repeated_response = client.responses.create(**request, extra_headers=key_header)
print(first_response.id, repeated_response.id)
assert repeated_response.id == first_response.id

# Reusing the key for a different request is an error.
error_code = None
try:
    client.responses.create(**request | {"input": "Say goodbye."}, extra_headers=key_header)
except openai.BadRequestError as error:
    error_code = error.code
print(error_code)
assert error_code == "idempotency_key_reuse"
