"""The program that reads one document: `python -m worker.fetch.extract`, started by worker/fetch/documents.py.

It has no settings, no keys and no access to Postgres, so any damage that a hostile document does ends with the process.
It reads one line of JSON and then the document from standard input, and writes one JSON object to standard output.
"""

import io
import json
import os
import resource
import signal
import sys
import zipfile
from dataclasses import asdict, dataclass
from typing import Any

# Exit status after a MemoryError.
NO_MEMORY = 70
_ZIP_ENTRIES = 10_000
_FILE_BYTES = 16 * 1024 * 1024  # the library writes its 8 MB PDF reader to the temporary folder


@dataclass(frozen=True)
class Task:
    """The type of the document to read, and the limits.

    Args:
        pages: maximum number of pages.
        characters: maximum length of the text.
        unpacked_bytes: maximum total size of the decompressed contents.
        memory_bytes: maximum address space of the process.
        timeout_s: limit on processor time; the limit on elapsed time is one second longer.
    """

    media_type: str
    pages: int
    characters: int
    unpacked_bytes: int
    memory_bytes: int
    timeout_s: int

    def line(self) -> bytes:
        """Encode the task as the line of JSON that the program reads."""
        return json.dumps(asdict(self)).encode() + b"\n"


def main() -> None:
    """Read the document from standard input; write its text, or the reason why it is refused, to standard output."""
    task = Task(**json.loads(sys.stdin.buffer.readline()))
    _confine(task)
    document = sys.stdin.buffer.read()
    try:
        result = _read(task, document)
    except MemoryError:
        os._exit(NO_MEMORY)
    sys.stdout.buffer.write(json.dumps(result).encode())
    sys.stdout.buffer.flush()
    os._exit(0)  # skip the cleanup handlers of libraries that have just parsed untrusted input


def _confine(task: Task) -> None:
    limits = {
        resource.RLIMIT_AS: task.memory_bytes,
        resource.RLIMIT_FSIZE: _FILE_BYTES,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 64,
    }
    for what, limit in limits.items():
        resource.setrlimit(what, (limit, limit))
    # The soft limit sends SIGXCPU, which identifies the cause; the hard limit sends only SIGKILL.
    resource.setrlimit(resource.RLIMIT_CPU, (task.timeout_s, task.timeout_s + 1))
    # The alarm ends the process even if its parent has died and cannot kill it.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(task.timeout_s + 1)


def _read(task: Task, document: bytes) -> dict[str, Any]:
    if document.startswith(b"PK"):
        wrong = _wrong_zip(document, task.unpacked_bytes)
        if wrong is not None:
            return {"wrong": wrong}
    # Import it only now: it is large, and its threads must be subject to the limits.
    import kreuzberg

    config = kreuzberg.ExtractionConfig(use_cache=False, disable_ocr=True)  # type: ignore[call-arg]  # missing in the stub
    try:
        found = kreuzberg.extract_bytes_sync(document, task.media_type, config)
    except kreuzberg.KreuzbergError as error:
        encrypted = any(word in str(error).lower() for word in ("password", "encrypt"))
        return {"wrong": "is encrypted." if encrypted else "cannot be read: it is damaged, or not of the given type."}
    pages = found.metadata.get("page_count") or 0
    if pages > task.pages:
        return {"wrong": f"has {pages} pages; at most {task.pages} are allowed."}
    if len(found.content) > task.characters:
        return {"wrong": f"has {len(found.content)} characters of text; at most {task.characters} are allowed."}
    if not found.content.strip():
        return {"wrong": "contains no text; it may be a scan."}
    return {"text": found.content}


def _wrong_zip(document: bytes, unpacked_bytes: int) -> str | None:
    """Return why an archive must not be unpacked, judging by its directory; the memory limit catches a false one."""
    try:
        with zipfile.ZipFile(io.BytesIO(document)) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError):
        return "cannot be read: it is damaged, or not of the given type."
    if len(entries) > _ZIP_ENTRIES or sum(entry.file_size for entry in entries) > unpacked_bytes:
        return "is too large when unpacked."
    if any(entry.flag_bits & 1 for entry in entries):
        return "is encrypted."
    return None


if __name__ == "__main__":
    main()
