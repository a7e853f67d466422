"""Requests that wait for their response in a separate thread."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from werkzeug.test import TestResponse

from tests.harness.waiting import until
from tests.http.http_api import Api


@contextmanager
def waiting_request(api: Api, **changes: Any) -> Iterator[tuple[str, Future[TestResponse]]]:
    """Send a request for a foreground response; yield the ID of the response and the future of the answer."""
    with ThreadPoolExecutor(1) as threads:
        marker = {"user": f"waiting {threading.get_ident()} {len(api.sql('select 1 from responses'))}"}
        future = threads.submit(api.post_response, background=False, **marker, **changes)
        query = "select id from responses where document::json ->> 'user' = %s"
        ((response_id,),) = until(lambda: (future.done() and future.result()) or api.sql(query, marker["user"]))
        yield response_id, future
