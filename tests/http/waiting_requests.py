"""A request that waits in a separate thread for the end of its response."""

import itertools
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from werkzeug.test import TestResponse

from tests.harness.waiting import until
from tests.http.http_api import Api

_numbers = itertools.count()


@contextmanager
def waiting_request(api: Api, **changes: Any) -> Iterator[tuple[str, Future[TestResponse]]]:
    """Send a request for a foreground response; yield the ID of the response and the future of the answer."""
    with ThreadPoolExecutor(1) as threads:
        user = f"waiting {next(_numbers)}"  # identifies the response in the database
        future = threads.submit(api.post_response, background=False, user=user, **changes)

        def find_rows() -> list[tuple[Any, ...]]:
            assert not future.done(), f"the request did not wait: {future.result()}"
            return api.sql("select id from responses where document::json ->> 'user' = %s", user)

        ((response_id,),) = until(find_rows)
        yield response_id, future
