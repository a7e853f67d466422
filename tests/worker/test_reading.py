"""The processes that extract text from documents: limited in time and number, and ended with the run they serve."""

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from core import errors
from core.settings import Settings
from tests import documents as made
from tests.harness.waiting import until
from worker.fetch.documents import Documents

# Takes at least a second of processor time on any machine.
SLOW = b"<table>" + b"<tr><td>a<b>b</b><a href='x'>y</a></td></tr>" * 600_000


def readers() -> list[str]:
    """The process IDs of this process's extraction processes."""
    return [child for task in Path("/proc/self/task").iterdir() for child in _children(task) if _reads(child)]


def _children(task: Path) -> list[str]:
    with suppress(OSError):  # the thread has ended
        return (task / "children").read_text().split()
    return []


def _reads(child: str) -> bool:
    with suppress(OSError):  # the process has ended
        return b"worker.fetch.extract" in Path(f"/proc/{child}/cmdline").read_bytes()
    return False


def slowly(timeout_s: float = 30) -> Documents:
    memory = 2 * 1024**3
    return Documents(Settings(extract_timeout_s=timeout_s, extract_memory_bytes=memory, file_limit_characters=10**8))


def test_a_reader_that_takes_too_long_is_ended() -> None:
    with pytest.raises(errors.Refused, match="takes too long to read") as caught:
        asyncio.run(slowly(1).text(SLOW, "text/html"))

    assert caught.value.code == "invalid_prompt"
    assert readers() == []


def test_a_reader_ends_with_the_run_that_asked() -> None:
    async def cancelled() -> None:
        reading = asyncio.create_task(slowly().text(SLOW, "text/html"))
        await asyncio.to_thread(until, readers)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading

    asyncio.run(cancelled())
    until(lambda: readers() == [])


def test_readers_are_few_and_the_others_wait() -> None:
    most = 0

    async def many() -> list[str]:
        nonlocal most
        documents = Documents(Settings(extract_at_once=2))
        reading = asyncio.gather(*(documents.text(made.pdf(f"page {n}"), "application/pdf") for n in range(6)))
        while not reading.done():
            most = max(most, len(await asyncio.to_thread(readers)))
        return await reading

    assert asyncio.run(many()) == [f"page {n}" for n in range(6)]
    assert 1 <= most <= 2


def test_a_reader_knows_no_variables_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKBURNER_DATABASE_URL", "postgresql://secret")

    async def looked_at() -> bytes:
        reading = asyncio.create_task(slowly().text(SLOW, "text/html"))
        (reader,) = await asyncio.to_thread(until, readers)
        found = Path(f"/proc/{reader}/environ").read_bytes()
        reading.cancel()
        await asyncio.wait({reading})
        return found

    found = asyncio.run(looked_at())

    assert b"LANG" in found
    assert b"secret" not in found
