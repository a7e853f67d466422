"""Extracts text from documents: each in a separate process, which is killed if it takes too long, a few at a time."""

import asyncio
import json
import signal
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from core import errors
from core.codes import Code
from core.settings import Settings
from worker.fetch.extract import NO_MEMORY, Task

_ROOT = Path(__file__).resolve().parents[2]
# The fraction of the reader's memory limit to which a document may decompress.
_UNPACKED = 1 / 4
# Exit status of the process if the C library has no memory to create a thread.
_NO_THREAD = 127
# Upper bound: JSON encodes a character as at most two escapes of six bytes each.
_BYTES_A_CHARACTER = 12
_OVER = {
    -signal.SIGXCPU: "takes too long to read.",
    -signal.SIGALRM: "takes too long to read.",
    -signal.SIGKILL: "takes too much time or memory to read.",
    NO_MEMORY: "takes too much memory to read.",
    _NO_THREAD: "takes too much memory to read.",
    -signal.SIGABRT: "takes too much memory to read.",
}


class Documents:
    """Extracts the text of documents in separate processes."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._readers = ThreadPoolExecutor(settings.extract_at_once, thread_name_prefix="documents")

    async def text(self, document: bytes, media_type: str) -> str:
        """Return the text of a document. Cancellation kills the process that reads it.

        Raises:
            errors.Refused: the document cannot be read within the limits. The message begins with a verb.
        """
        reader = _Reader(self._task(media_type), document)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._readers, reader.read)
        finally:
            reader.kill()

    def _task(self, media_type: str) -> Task:
        settings = self._settings
        return Task(
            media_type=media_type,
            pages=settings.file_limit_pages,
            characters=settings.file_limit_characters,
            unpacked_bytes=int(settings.extract_memory_bytes * _UNPACKED),
            memory_bytes=settings.extract_memory_bytes,
            timeout_s=int(settings.extract_timeout_s),
        )


class _Reader:
    """A process that reads one document."""

    def __init__(self, task: Task, document: bytes) -> None:
        self._task = task
        self._document = document
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._killed = False

    def kill(self) -> None:
        """Kill the process, or prevent it from being started. Thread-safe; may be called repeatedly."""
        with self._lock:
            self._killed = True
            if self._process is not None:
                self._process.kill()

    def read(self) -> str:
        """Start the process and return the text; see `Documents.text`."""
        with tempfile.TemporaryDirectory() as folder:
            with self._lock:
                if self._killed:
                    raise errors.Refused("was not read.")
                # Pass none of our environment variables: a process that reads a hostile document must have no secrets.
                self._process = subprocess.Popen(
                    [sys.executable, "-B", "-m", "worker.fetch.extract"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    cwd=_ROOT,
                    env={"HOME": folder, "TMPDIR": folder, "LANG": "C.UTF-8"},
                    start_new_session=True,
                )
            with self._process as process:
                late = threading.Timer(self._task.timeout_s + 5, self.kill)
                late.start()
                try:
                    result = self._talk(process)
                    status = process.wait()
                finally:
                    late.cancel()
                    process.kill()
        return _text(status, result)

    def _talk(self, process: subprocess.Popen[bytes]) -> bytes:
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(BrokenPipeError):
            process.stdin.write(self._task.line())
            process.stdin.write(self._document)
            process.stdin.close()
        return process.stdout.read(self._task.characters * _BYTES_A_CHARACTER + 1024)


def _text(status: int, result: bytes) -> str:
    if status != 0:
        # A document that crashes the reader is refused, not tried again: it would crash the next reader, too.
        raise _refused(_OVER.get(status, "cannot be read: the reader failed."))
    found: dict[str, Any] = json.loads(result)
    if "wrong" in found:
        raise _refused(found["wrong"])
    return str(found["text"])


def _refused(words: str) -> errors.Refused:
    return errors.Refused(words, code=Code.INVALID_PROMPT)
