"""The program that reads one document: `python -m worker.fetch.extract`, started by worker/fetch/documents.py.

It has no settings, no keys and no way to Postgres; what a hostile document can do to it ends with it. On its standard
input comes one line of JSON, then the document; on its standard output it leaves one object of JSON.
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

# Exit status where memory ran out and Python could still say so.
NO_MEMORY = 70
_ZIP_ENTRIES = 10_000
_FILE_BYTES = 16 * 1024 * 1024  # the library writes its reader of PDFs to the temporary folder, of eight


@dataclass(frozen=True)
class Task:
    """What to read, and what it may take.

    Args:
        unpacked_bytes: of all that is packed in the document.
        timeout_s: of processor time, and once more of time.
    """

    media_type: str
    pages: int
    characters: int
    unpacked_bytes: int
    memory_bytes: int
    timeout_s: int

    def line(self) -> bytes:
        """The task as the program reads it."""
        return json.dumps(asdict(self)).encode() + b"\n"


def main() -> None:
    """Read the document that comes in, and say its text, or what is wrong with it."""
    task = Task(**json.loads(sys.stdin.buffer.readline()))
    _confine(task)
    document = sys.stdin.buffer.read()
    try:
        result = _read(task, document)
    except MemoryError:
        os._exit(NO_MEMORY)
    sys.stdout.buffer.write(json.dumps(result).encode())
    sys.stdout.buffer.flush()
    os._exit(0)  # no clean-up by libraries that have just read who knows what


def _confine(task: Task) -> None:
    limits = {
        resource.RLIMIT_AS: task.memory_bytes,
        resource.RLIMIT_FSIZE: _FILE_BYTES,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 64,
    }
    for what, limit in limits.items():
        resource.setrlimit(what, (limit, limit))
    # At the second of these two there is no signal that says why.
    resource.setrlimit(resource.RLIMIT_CPU, (task.timeout_s, task.timeout_s + 1))
    # Also where nobody is left to kill it.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(task.timeout_s + 1)


def _read(task: Task, document: bytes) -> dict[str, Any]:
    if document.startswith(b"PK"):
        wrong = _wrong_zip(document, task.unpacked_bytes)
        if wrong is not None:
            return {"wrong": wrong}
    # Only now: it is large, and its threads must be under the limits.
    import kreuzberg

    config = kreuzberg.ExtractionConfig(use_cache=False, disable_ocr=True)  # type: ignore[call-arg]  # its stub does not know it
    try:
        found = kreuzberg.extract_bytes_sync(document, task.media_type, config)
    except kreuzberg.KreuzbergError as error:
        encrypted = any(word in str(error).lower() for word in ("password", "encrypt"))
        return {"wrong": "is encrypted." if encrypted else "cannot be read: it is broken, or not what it says."}
    pages = found.metadata.get("page_count") or 0
    if pages > task.pages:
        return {"wrong": f"has {pages} pages; at most {task.pages} are allowed."}
    if len(found.content) > task.characters:
        return {"wrong": f"has a text of {len(found.content)} characters; at most {task.characters} are allowed."}
    if not found.content.strip():
        return {"wrong": "has no text in it; it may be a scan."}
    return {"text": found.content}


def _wrong_zip(document: bytes, unpacked_bytes: int) -> str | None:
    """What speaks against unpacking an archive, as far as its own list says; what lies meets the limit of memory."""
    try:
        with zipfile.ZipFile(io.BytesIO(document)) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError):
        return "cannot be read: it is broken, or not what it says."
    if len(entries) > _ZIP_ENTRIES or sum(entry.file_size for entry in entries) > unpacked_bytes:
        return "is too large when it is unpacked."
    if any(entry.flag_bits & 1 for entry in entries):
        return "is encrypted."
    return None


if __name__ == "__main__":
    main()
