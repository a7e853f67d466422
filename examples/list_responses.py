"""List the responses of a project page by page, with `client.get`, because the official client has no list method."""

import uuid
from typing import Any

from examples.connection import MODEL, connect

client = connect()

# Lists can be filtered by metadata: here, all responses of one batch.
batch = uuid.uuid4().hex
response_ids = [
    client.responses.create(model=MODEL, input=f"Say {number}.", background=True, metadata={"batch": batch}).id
    for number in range(3)
]


def list_pages(**parameters: Any) -> list[list[dict[str, Any]]]:
    """Request all pages. The `last_id` of a page is the `after` parameter of the request for the next page."""
    pages = []
    while True:
        page = client.get("/responses", cast_to=dict[str, Any], options={"params": parameters})
        pages.append(page["data"])
        if not page["has_more"]:
            return pages
        parameters["after"] = page["last_id"]


pages = list_pages(**{"metadata[batch]": batch, "limit": 2, "order": "asc"})
for number, page in enumerate(pages, 1):
    for response in page:
        print(f"page {number}: {response['id']} {response['status']}")
assert [response["id"] for page in pages for response in page] == response_ids

# Other filters: `status` and `model`.
for response_id in response_ids:
    client.responses.cancel(response_id)
filtered_ids = [
    response["id"] for page in list_pages(**{"metadata[batch]": batch, "model": MODEL}) for response in page
]
assert filtered_ids == response_ids[::-1]
