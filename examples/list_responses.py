"""List the responses of a project page by page. The official client has no method for it, but can send the request."""

import uuid
from typing import Any

from connection import MODEL, connect

client = connect()

# Lists can be filtered by metadata: here, all responses of one batch.
batch = uuid.uuid4().hex
made = [
    client.responses.create(model=MODEL, input=f"Say {n}.", background=True, metadata={"batch": batch}).id
    for n in range(3)
]


def pages(**asked: Any) -> list[list[dict[str, Any]]]:
    """All pages. The `last_id` of a page is the `after` parameter of the next request."""
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
