"""Loads, downloads and extracts the images and files of a model's input, once per attempt, before the model call."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from core import errors
from core.codes import Code
from core.config.catalog import ModelConfig
from core.context import media
from core.context import parts as inputs
from core.context.parts import Part
from core.runs.attempts import Attempt, Attempts
from core.settings import Settings
from core.wire.items import Item
from worker.fetch.client import Fetched, Fetcher, Unfetched
from worker.fetch.documents import Documents

log = logging.getLogger(__name__)

# Number of attempts whose inputs are prepared concurrently: each may hold several times `input_limit_bytes` in memory.
AT_ONCE = 8
_AGAIN_S = 0.2
_IMAGE_CODES = {
    "refused": Code.INVALID_IMAGE_URL,
    "too_large": Code.IMAGE_FILE_TOO_LARGE,
    "type": Code.UNSUPPORTED_IMAGE_MEDIA_TYPE,
    "failed": Code.FAILED_TO_DOWNLOAD_IMAGE,
}


def passes_files(model: ModelConfig) -> bool:
    """Return whether the model server reads files itself."""
    return str(model.api) == "responses" and "files" in model.supports


@dataclass
class _Gathering:
    """The inputs prepared so far for one attempt; each image or file is downloaded and extracted once."""

    contents: Mapping[str, str]
    left_bytes: int
    images: dict[str, str] = field(default_factory=dict)  # by URL
    texts: dict[tuple[str, str | None], Part] = field(default_factory=dict)  # by URL or data, and name


class Inputs:
    """Prepares the images and files of attempts."""

    def __init__(self, attempts: Attempts, fetcher: Fetcher, documents: Documents, settings: Settings) -> None:
        self._attempts = attempts
        self._fetcher = fetcher
        self._documents = documents
        self._settings = settings
        self._places = asyncio.Semaphore(AT_ONCE)

    async def prepare(self, attempt: Attempt, model: ModelConfig) -> Attempt:
        """Return the attempt with a context that can be sent to the model; unchanged if it has no images or files.

        Each image in the result has a data URL with its content, or a URL that the model server opens. Each file has a
        `text`, or, if the model server reads files itself, the content that the client sent.

        Raises:
            errors.Refused: an image or a file cannot be obtained or read; has the error code of the wire format.
        """
        if not any(inputs.is_media(part) for item in attempt.context for part in inputs.parts(item)):
            return attempt
        async with self._places:
            contents = await self._contents(attempt)
            gathering = _Gathering(contents, self._settings.input_limit_bytes)
            shown = [await self._item(item, model, gathering) for item in attempt.context]
        return replace(attempt, context=shown)

    async def _item(self, item: Item, model: ModelConfig, gathering: _Gathering) -> Item:
        parts = inputs.parts(item)
        if not any(map(inputs.is_media, parts)):
            return item
        shown = [await self._part(part, model, gathering) if inputs.is_media(part) else part for part in parts]
        return inputs.with_parts(item, shown)

    async def _contents(self, attempt: Attempt) -> dict[str, str]:
        while True:
            try:
                found = await asyncio.to_thread(self._attempts.contents, attempt)
            except errors.StoreUnavailable as error:
                log.warning("cannot read inputs", extra={"response": attempt.response_id, "cause": str(error)})
                await asyncio.sleep(_AGAIN_S)
                continue
            if found.keys() != inputs.references(attempt.context):
                raise errors.Refused("An image or a file of this response is no longer stored.")
            return found

    async def _part(self, part: Part, model: ModelConfig, gathering: _Gathering) -> Part:
        if part["type"] == "input_image":
            filled = inputs.filled(part, gathering.contents)
            return filled | {"image_url": await self._image(filled["image_url"], model, gathering)}
        if passes_files(model):
            return inputs.filled(part, gathering.contents)
        source = inputs.reference(part) or part.get("file_data") or part["file_url"]
        key = source, part.get("filename")
        if key not in gathering.texts:
            gathering.texts[key] = await self._file(inputs.filled(part, gathering.contents), gathering)
        return gathering.texts[key]

    async def _image(self, url: str, model: ModelConfig, gathering: _Gathering) -> str:
        if media.is_data_url(url) or model.image_urls == "pass":
            return url
        if url not in gathering.images:
            gathering.images[url] = await self._download_image(url, gathering)
        return gathering.images[url]

    async def _download_image(self, url: str, gathering: _Gathering) -> str:
        what = f"The image {_shown(url)}"
        limit = self._settings.image_limit_bytes
        try:
            fetched = await self._fetch(url, limit, media.is_image_type, gathering)
            return await asyncio.to_thread(self._checked, fetched.data)
        except Unfetched as error:
            raise errors.Refused(f"{what} {error}", code=_IMAGE_CODES[error.kind]) from error
        except errors.InvalidRequest as error:
            raise errors.Refused(f"{what} {error}", code=error.code) from error

    def _checked(self, data: bytes) -> str:
        return media.data_url(media.check_image(data, self._settings), data)

    async def _file(self, part: Part, gathering: _Gathering) -> Part:
        """Return a file part with the text and the name of the file."""
        url, name = part.get("file_url"), part.get("filename")
        what = f"The file {_shown(name or url or 'unnamed')}"
        try:
            # Decode in a thread: a large file would block the event loop, and with it all other runs.
            if url is None:
                file = await asyncio.to_thread(media.file_of, part["file_data"], name, self._settings)
            else:
                fetched = await self._fetch(url, self._settings.file_limit_bytes, lambda _: True, gathering)
                name = name or fetched.name
                file = await asyncio.to_thread(media.check_file, fetched.data, fetched.media_type, name, self._settings)
            text = await self._documents.text(file.data, file.media_type) if file.text is None else file.text
        except (Unfetched, errors.InvalidRequest, errors.Refused) as error:
            raise errors.Refused(f"{what} {error}", code=Code.INVALID_PROMPT) from error
        gathering.left_bytes -= len(text)
        if gathering.left_bytes < 0:
            raise errors.Refused(f"{what} and those before it contain too much text.", code=Code.INVALID_PROMPT)
        return {"type": "input_file", "filename": name, "text": text}

    async def _fetch(self, url: str, limit_bytes: int, takes: Callable[[str], bool], gathering: _Gathering) -> Fetched:
        limit_bytes = min(limit_bytes, gathering.left_bytes)
        fetched = await self._fetcher.fetch(url, limit_bytes=limit_bytes, takes=takes)
        gathering.left_bytes -= len(fetched.data)
        return fetched


def _shown(name: str) -> str:
    return f"'{name}'" if len(name) <= 200 else f"'{name[:200]}…'"
