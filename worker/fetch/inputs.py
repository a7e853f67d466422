"""Prepares the images and files of an attempt's context for the model server: loads, downloads and extracts them."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from core import errors
from core.codes import Code
from core.config.catalog import ModelConfig
from core.context import media
from core.context import parts as content_parts
from core.runs.attempt import Attempt
from core.runs.attempts import Attempts
from core.settings import Settings
from core.wire import Item, Part
from worker.fetch.client import Download, DownloadError, Fetcher
from worker.fetch.documents import Documents
from worker.models.apis import can_read_files

log = logging.getLogger(__name__)
ResultT = TypeVar("ResultT")

# Maximum number of attempts that are prepared at the same time: each may occupy several times `input_limit_bytes` of
# memory.
_MAX_CONCURRENT_ATTEMPTS = 8
# Maximum number of attempts whose large fields are read at the same time: each occupies a connection to Postgres, and
# several times the size of its request in memory. The other connections remain for claims and ends.
_MAX_CONCURRENT_LOADS = 2
_RETRY_INTERVAL_S = 0.2
_IMAGE_CODES = {
    "refused": Code.INVALID_IMAGE_URL,
    "too_large": Code.IMAGE_FILE_TOO_LARGE,
    "type": Code.UNSUPPORTED_IMAGE_MEDIA_TYPE,
    "failed": Code.FAILED_TO_DOWNLOAD_IMAGE,
}


@dataclass
class _InputCache:
    """The images and texts of one attempt that are already prepared, so that each is downloaded and extracted once."""

    contents: Mapping[str, str]  # the stored contents of the attempt, by ID
    remaining_bytes: int  # unused part of `input_limit_bytes`
    images: dict[str, str] = field(default_factory=dict)  # by URL
    texts: dict[tuple[str, str | None], Part] = field(default_factory=dict)  # by URL or data, and name


class Inputs:
    """Prepares the images and files of attempts."""

    def __init__(self, attempts: Attempts, fetcher: Fetcher, documents: Documents, settings: Settings) -> None:
        self._attempts = attempts
        self._fetcher = fetcher
        self._documents = documents
        self._settings = settings
        self._semaphore = asyncio.Semaphore(_MAX_CONCURRENT_ATTEMPTS)
        self._load_semaphore = asyncio.Semaphore(_MAX_CONCURRENT_LOADS)

    async def prepare(self, attempt: Attempt, model: ModelConfig) -> Attempt:
        """Return the attempt with a context that can be sent to the model server.

        In the new context, each image has a data URL with its content, or a URL that the model server opens. Each file
        has a `text`, or, if the model server reads files itself, the content from the client.

        Raises:
            errors.PermanentError: an image or a file cannot be loaded or read; it has an error code of the wire format.
        """
        if not any(content_parts.is_media(part) for item in attempt.context for part in content_parts.parts(item)):
            return attempt
        async with self._semaphore:
            contents = await self._load_contents(attempt)
            cache = _InputCache(contents, self._settings.input_limit_bytes)
            context = [await self._prepare_item(item, model, cache) for item in attempt.context]
        return replace(attempt, context=context)

    async def _prepare_item(self, item: Item, model: ModelConfig, cache: _InputCache) -> Item:
        parts = content_parts.parts(item)
        if not any(map(content_parts.is_media, parts)):
            return item
        new_parts = [
            await self._prepare_part(part, model, cache) if content_parts.is_media(part) else part for part in parts
        ]
        return content_parts.replace_parts(item, new_parts)

    async def load_large_fields(self, attempt: Attempt) -> Attempt:
        """Return the attempt with the large fields of its request and context, which the claim did not read."""
        if attempt.packed_request is None:
            return attempt
        async with self._load_semaphore:
            return await self._read(self._attempts.load_large_fields, attempt)

    async def _load_contents(self, attempt: Attempt) -> dict[str, str]:
        contents = await self._read(self._attempts.contents, attempt)
        if contents.keys() != content_parts.references(attempt.context):
            raise errors.PermanentError("An image or a file of this response is no longer stored.")
        return contents

    async def _read(self, read: Callable[[Attempt], ResultT], attempt: Attempt) -> ResultT:
        """Call a function that reads from Postgres, in a thread, until Postgres is available."""
        while True:
            try:
                return await asyncio.to_thread(read, attempt)
            except errors.StoreUnavailable as error:
                log.warning("cannot read inputs", extra={"response": attempt.response_id, "cause": str(error)})
                await asyncio.sleep(_RETRY_INTERVAL_S)

    async def _prepare_part(self, part: Part, model: ModelConfig, cache: _InputCache) -> Part:
        if part["type"] == "input_image":
            image = content_parts.insert_content(part, cache.contents)
            return image | {"image_url": await self._prepare_image(image["image_url"], model, cache)}
        if can_read_files(model):
            return content_parts.insert_content(part, cache.contents)
        source = content_parts.reference(part) or part.get("file_data") or part["file_url"]
        key = source, part.get("filename")
        if key not in cache.texts:
            cache.texts[key] = await self._extract_file(content_parts.insert_content(part, cache.contents), cache)
        return cache.texts[key]

    async def _prepare_image(self, url: str, model: ModelConfig, cache: _InputCache) -> str:
        if media.is_data_url(url) or model.image_urls == "pass":
            return url
        if url not in cache.images:
            cache.images[url] = await self._download_image(url, cache)
        return cache.images[url]

    async def _download_image(self, url: str, cache: _InputCache) -> str:
        subject = f"The image {_quote_name(url)}"
        limit_bytes = self._settings.image_limit_bytes
        try:
            download = await self._download(url, limit_bytes, media.is_image_type, cache)
            return await asyncio.to_thread(self._to_data_url, download.data)
        except DownloadError as error:
            raise errors.PermanentError(f"{subject} {error}", code=_IMAGE_CODES[error.kind]) from error
        except errors.InvalidRequest as error:
            raise errors.PermanentError(f"{subject} {error}", code=error.code) from error

    def _to_data_url(self, data: bytes) -> str:
        return media.data_url(media.check_image(data, self._settings), data)

    async def _extract_file(self, part: Part, cache: _InputCache) -> Part:
        """Return a file part with the text and the name of the file."""
        url, name = part.get("file_url"), part.get("filename")
        subject = f"The file {_quote_name(name or url or 'unnamed')}"
        try:
            # Decode in a thread: a large file would block the event loop and therefore all other runs.
            if url is None:
                file = await asyncio.to_thread(media.decode_file, part["file_data"], name, self._settings)
            else:
                download = await self._download(url, self._settings.file_limit_bytes, lambda _: True, cache)
                name = name or download.name
                file = await asyncio.to_thread(
                    media.check_file, download.data, download.media_type, name, self._settings
                )
            text = await self._documents.extract_text(file.data, file.media_type) if file.text is None else file.text
        except (DownloadError, errors.InvalidRequest, errors.PermanentError) as error:
            raise errors.PermanentError(f"{subject} {error}", code=Code.INVALID_PROMPT) from error
        cache.remaining_bytes -= len(text)
        if cache.remaining_bytes < 0:
            raise errors.PermanentError(
                f"{subject} and those before it contain too much text.", code=Code.INVALID_PROMPT
            )
        return {"type": "input_file", "filename": name, "text": text}

    async def _download(
        self, url: str, limit_bytes: int, accepts: Callable[[str], bool], cache: _InputCache
    ) -> Download:
        limit_bytes = min(limit_bytes, cache.remaining_bytes)
        download = await self._fetcher.fetch(url, limit_bytes=limit_bytes, accepts=accepts)
        cache.remaining_bytes -= len(download.data)
        return download


def _quote_name(name: str) -> str:
    return f"'{name}'" if len(name) <= 200 else f"'{name[:200]}…'"
