"""The program that reads one document: `python -m worker.fetch.extract`, started by worker/fetch/documents.py.

The program has no settings, no keys and no access to Postgres, so a hostile document can damage only this
process. It reads one line of JSON and then the document from standard input, and writes one JSON object to standard
output.
"""

import io
import json
import os
import resource
import signal
import sys
import zipfile
from dataclasses import asdict, dataclass

from core.jsonio import JsonObject

# Exit status after a MemoryError.
EXIT_NO_MEMORY = 70
_MAX_ZIP_ENTRIES = 10_000
_ENCRYPTED_FLAG = 1  # of a ZIP entry
_MAX_OPEN_FILES = 64
_MAX_FILE_BYTES = 16 * 1024 * 1024  # the library writes its PDF reader, which has 8 MB, to the temporary folder


@dataclass(frozen=True)
class ExtractionTask:
    """The type of the document to read, and the limits for reading it.

    Args:
        max_characters: maximum length of the text.
        max_unpacked_bytes: maximum total size of the decompressed contents.
        max_memory_bytes: maximum address space of the process.
        timeout_s: limit on processor time; the limit on elapsed time is one second longer.
    """

    media_type: str
    max_pages: int
    max_characters: int
    max_unpacked_bytes: int
    max_memory_bytes: int
    timeout_s: int

    def to_json_line(self) -> bytes:
        """Encode the task as the line of JSON that the program reads."""
        return json.dumps(asdict(self)).encode() + b"\n"


def main() -> None:
    """Read the document from standard input; write its text, or the reason why it is refused, to standard output."""
    task = ExtractionTask(**json.loads(sys.stdin.buffer.readline()))
    _set_limits(task)
    document = sys.stdin.buffer.read()
    try:
        result = _read_document(task, document)
    except MemoryError:
        os._exit(EXIT_NO_MEMORY)
    sys.stdout.buffer.write(json.dumps(result).encode())
    sys.stdout.buffer.flush()
    os._exit(0)  # skip the cleanup handlers of libraries that have just parsed untrusted input


def _set_limits(task: ExtractionTask) -> None:
    limits = {
        resource.RLIMIT_AS: task.max_memory_bytes,
        resource.RLIMIT_FSIZE: _MAX_FILE_BYTES,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: _MAX_OPEN_FILES,
    }
    for resource_type, limit in limits.items():
        resource.setrlimit(resource_type, (limit, limit))
    # The soft limit sends SIGXCPU, from which the parent recognizes the cause; the hard limit sends only SIGKILL.
    resource.setrlimit(resource.RLIMIT_CPU, (task.timeout_s, task.timeout_s + 1))
    # The alarm ends the process even if its parent has died.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(task.timeout_s + 1)


def _read_document(task: ExtractionTask, document: bytes) -> JsonObject:
    if document.startswith(b"PK"):
        problem = _zip_problem(document, task.max_unpacked_bytes)
        if problem is not None:
            return {"problem": problem}
    # Import the library only now: it is large, and its threads must be subject to the limits.
    import kreuzberg

    config = kreuzberg.ExtractionConfig(use_cache=False, disable_ocr=True)  # type: ignore[call-arg]  # missing in the stub
    try:
        extraction = kreuzberg.extract_bytes_sync(document, task.media_type, config)
    except kreuzberg.KreuzbergError as error:
        is_encrypted = any(word in str(error).lower() for word in ("password", "encrypt"))
        return {
            "problem": "is encrypted." if is_encrypted else "cannot be read: it is damaged, or not of the given type."
        }
    page_count = extraction.metadata.get("page_count") or 0
    if page_count > task.max_pages:
        return {"problem": f"has {page_count} pages; at most {task.max_pages} are allowed."}
    if len(extraction.content) > task.max_characters:
        return {
            "problem": f"has {len(extraction.content)} characters of text; at most {task.max_characters} are allowed."
        }
    if not extraction.content.strip():
        return {"problem": "contains no text; it may be a scan."}
    return {"text": extraction.content}


def _zip_problem(document: bytes, max_unpacked_bytes: int) -> str | None:
    """Return the reason why an archive must not be unpacked, or None.

    The sizes come from the archive's directory. If they are false, only the memory limit protects the process.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(document)) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError):
        return "cannot be read: it is damaged, or not of the given type."
    if len(entries) > _MAX_ZIP_ENTRIES or sum(entry.file_size for entry in entries) > max_unpacked_bytes:
        return "is too large when unpacked."
    if any(entry.flag_bits & _ENCRYPTED_FLAG for entry in entries):
        return "is encrypted."
    return None


if __name__ == "__main__":
    main()
