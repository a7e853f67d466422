"""List a project's responses, a page at a time; no client has a method for it, but any can ask."""

import uuid
from typing import Any

from connection import MODEL, connect

client = connect()

# Metadata makes responses findable: here all of one batch.
batch = uuid.uuid4().hex
made = [
    client.responses.create(model=MODEL, input=f"Say {n}.", background=True, metadata={"batch": batch}).id
    for n in range(3)
]


def pages(**asked: Any) -> list[list[dict[str, Any]]]:
    """Every page: `last_id` of one is `after` of the next."""
    found = []
    while True:
        page = client.get("/responses", cast_to=dict[str, Any], options={"params": asked})
        found.append(page["data"])
        if not page["has_more"]:
            return found
        asked["after"] = page["last_id"]


listed = pages(**{"metadata[batch]": batch, "limit": 2, "order": "asc"})
for number, page in enumerate(listed, 1):
    for response in page:
        print(f"page {number}: {response['id']} {response['status']}")
assert [response["id"] for page in listed for response in page] == made

# Other filters: `status` and `model`.
for response_id in made:
    client.responses.cancel(response_id)
ended = [response["id"] for page in pages(**{"metadata[batch]": batch, "model": MODEL}) for response in page]
assert ended == made[::-1]
