"""The readers, which are processes that extract text from documents: their limits, their end and their environment."""

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from core import errors
from core.settings import Settings
from tests import documents as sample_documents
from tests.harness.waiting import until
from worker.fetch.documents import Documents

# A document that takes at least a second of processor time on any machine.
SLOW_DOCUMENT = b"<table>" + b"<tr><td>a<b>b</b><a href='x'>y</a></td></tr>" * 600_000


def reader_pids() -> list[str]:
    """Return the process IDs of the readers that this process has started."""
    return [pid for task in Path("/proc/self/task").iterdir() for pid in _child_pids(task) if _is_reader(pid)]


def _child_pids(task: Path) -> list[str]:
    with suppress(OSError):  # the thread has ended
        return (task / "children").read_text().split()
    return []


def _is_reader(pid: str) -> bool:
    with suppress(OSError):  # the process has ended
        return b"worker.fetch.extract" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def create_documents(timeout_s: float = 30) -> Documents:
    memory_bytes = 2 * 1024**3
    return Documents(
        Settings(extract_timeout_s=timeout_s, extract_memory_bytes=memory_bytes, file_limit_characters=10**8)
    )


def test_a_reader_that_exceeds_the_time_limit_is_killed() -> None:
    with pytest.raises(errors.PermanentError, match="takes too long to read") as raised:
        asyncio.run(create_documents(1).extract_text(SLOW_DOCUMENT, "text/html"))

    assert raised.value.code == "invalid_prompt"
    assert reader_pids() == []


def test_the_cancellation_of_a_run_kills_its_reader() -> None:
    async def cancel_extraction() -> None:
        extraction = asyncio.create_task(create_documents().extract_text(SLOW_DOCUMENT, "text/html"))
        await asyncio.to_thread(until, reader_pids)
        extraction.cancel()
        with pytest.raises(asyncio.CancelledError):
            await extraction

    asyncio.run(cancel_extraction())
    until(lambda: reader_pids() == [])


def test_the_number_of_concurrent_readers_is_limited() -> None:
    max_readers = 0

    async def extract_texts() -> list[str]:
        nonlocal max_readers
        documents = Documents(Settings(extract_at_once=2))
        extraction = asyncio.gather(
            *(documents.extract_text(sample_documents.pdf(f"page {n}"), "application/pdf") for n in range(6))
        )
        while not extraction.done():
            max_readers = max(max_readers, len(await asyncio.to_thread(reader_pids)))
        return await extraction

    assert asyncio.run(extract_texts()) == [f"page {n}" for n in range(6)]
    assert 1 <= max_readers <= 2


def test_a_reader_does_not_inherit_our_environment_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKBURNER_DATABASE_URL", "postgresql://secret")

    async def read_environment() -> bytes:
        extraction = asyncio.create_task(create_documents().extract_text(SLOW_DOCUMENT, "text/html"))
        (pid,) = await asyncio.to_thread(until, reader_pids)
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        extraction.cancel()
        await asyncio.wait({extraction})
        return environment

    environment = asyncio.run(read_environment())

    assert b"LANG" in environment
    assert b"secret" not in environment
