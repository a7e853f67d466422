"""Extracts text from documents in separate processes, which are limited in number, time and memory."""

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

from core import errors
from core.codes import Code
from core.jsonio import JsonObject
from core.settings import Settings
from worker.fetch.extract import EXIT_NO_MEMORY, ExtractionTask

_ROOT = Path(__file__).resolve().parents[2]
# Maximum size of the unpacked document, as a fraction of the process's memory limit.
_UNPACKED_FRACTION = 1 / 4
# Exit status of the process if the C library has no memory to create a thread.
_EXIT_NO_THREAD = 127
# JSON encodes a character as at most two escapes of six bytes each.
_MAX_BYTES_PER_CHARACTER = 12
# Maximum size of the rest of the JSON object.
_MAX_JSON_OVERHEAD_BYTES = 1024
# Additional time after which the process is killed if its own limits have not ended it.
_KILL_MARGIN_S = 5
_EXIT_MESSAGES = {
    -signal.SIGXCPU: "takes too long to read.",
    -signal.SIGALRM: "takes too long to read.",
    -signal.SIGKILL: "takes too much time or memory to read.",
    EXIT_NO_MEMORY: "takes too much memory to read.",
    _EXIT_NO_THREAD: "takes too much memory to read.",
    -signal.SIGABRT: "takes too much memory to read.",
}


class Documents:
    """Extracts the text of documents, each in a separate process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._executor = ThreadPoolExecutor(settings.extract_at_once, thread_name_prefix="documents")

    async def extract_text(self, document: bytes, media_type: str) -> str:
        """Extract the text of a document. Cancellation kills the process that reads it.

        Raises:
            errors.PermanentError: the document cannot be read within the limits. The message is a predicate that
                follows the name of the document in a sentence.
        """
        reader = _Reader(self._extraction_task(media_type), document)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, reader.read)
        finally:
            reader.kill()

    def _extraction_task(self, media_type: str) -> ExtractionTask:
        settings = self._settings
        return ExtractionTask(
            media_type=media_type,
            max_pages=settings.file_limit_pages,
            max_characters=settings.file_limit_characters,
            max_unpacked_bytes=int(settings.extract_memory_bytes * _UNPACKED_FRACTION),
            max_memory_bytes=settings.extract_memory_bytes,
            timeout_s=int(settings.extract_timeout_s),
        )


class _Reader:
    """Runs the process that reads one document."""

    def __init__(self, task: ExtractionTask, document: bytes) -> None:
        self._task = task
        self._document = document
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._is_killed = False

    def kill(self) -> None:
        """Kill the process, or prevent it from being started. Thread-safe; may be called repeatedly."""
        with self._lock:
            self._is_killed = True
            if self._process is not None:
                self._process.kill()

    def read(self) -> str:
        """Start the process and return the text; see `Documents.extract_text`."""
        with tempfile.TemporaryDirectory() as folder:
            with self._lock:
                if self._is_killed:
                    raise errors.PermanentError("was not read.")
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
                kill_timer = threading.Timer(self._task.timeout_s + _KILL_MARGIN_S, self.kill)
                kill_timer.start()
                try:
                    output = self._send_document(process)
                    exit_status = process.wait()
                finally:
                    kill_timer.cancel()
                    process.kill()
        return _parse_result(exit_status, output)

    def _send_document(self, process: subprocess.Popen[bytes]) -> bytes:
        """Send the task and the document to the process, and return its output."""
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(BrokenPipeError):
            process.stdin.write(self._task.to_json_line())
            process.stdin.write(self._document)
            process.stdin.close()
        return process.stdout.read(self._task.max_characters * _MAX_BYTES_PER_CHARACTER + _MAX_JSON_OVERHEAD_BYTES)


def _parse_result(exit_status: int, output: bytes) -> str:
    if exit_status != 0:
        # Refuse a document that crashes the process instead of retrying: it would crash the next process, too.
        raise _create_error(_EXIT_MESSAGES.get(exit_status, "cannot be read: the reader failed."))
    result: JsonObject = json.loads(output)
    if "problem" in result:
        raise _create_error(result["problem"])
    return str(result["text"])


def _create_error(message: str) -> errors.PermanentError:
    return errors.PermanentError(message, code=Code.INVALID_PROMPT)
