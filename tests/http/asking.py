"""Requests that wait in a thread of their own."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from werkzeug.test import TestResponse

from tests.harness.waiting import until
from tests.http.http_api import Api


@contextmanager
def asking(api: Api, **changes: Any) -> Iterator[tuple[str, Future[TestResponse]]]:
    """Send a foreground create; yield the response's ID and the future reply."""
    with ThreadPoolExecutor(1) as threads:
        marked = {"user": f"waiting {threading.get_ident()} {len(api.sql('select 1 from responses'))}"}
        answer = threads.submit(api.create, background=False, **marked, **changes)
        query = "select id from responses where document::json ->> 'user' = %s"
        ((response_id,),) = until(lambda: (answer.done() and answer.result()) or api.sql(query, marked["user"]))
        yield response_id, answer
