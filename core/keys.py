"""Projects' API keys: made, known, revoked. Only their hashes are stored."""

import hashlib
import secrets
import threading
from collections.abc import Collection

from cachetools import TTLCache

from core import errors, ids
from core.db import Database
from core.store import keys
from core.store.keys import Caller, Listed

__all__ = ["Caller", "Keys", "Listed"]

PREFIX = "sk-bb-"
DEFAULT_PROJECT = "default"
_CACHED = 10_000


class Keys:
    """Tells who a key speaks for. A revoked key is refused everywhere within `cache_s` seconds."""

    def __init__(self, database: Database, *, cache_s: float) -> None:
        self._database = database
        self._cache: TTLCache[bytes, Caller] = TTLCache(_CACHED, cache_s)
        self._lock = threading.Lock()

    def caller(self, secret: str) -> Caller:
        """Who `secret` speaks for.

        Raises:
            errors.InvalidKey: it is unknown or revoked.
            errors.StoreUnavailable: Postgres could not be asked.
        """
        hashed = _hash(secret)
        with self._lock:
            known = self._cache.get(hashed)
        if known is not None:
            return known

        def find() -> Caller | None:
            with self._database.connection() as connection:
                return keys.find_caller(connection, hashed)

        caller = self._database.again(find)
        if caller is None:
            raise errors.InvalidKey("Incorrect API key provided.")
        with self._lock:
            self._cache[hashed] = caller
        return caller

    def create(self, rights: Collection[str] = (), project: str = DEFAULT_PROJECT) -> str:
        """Make a key for a project, which is created if need be; the key, which is not kept anywhere."""
        secret = PREFIX + secrets.token_urlsafe(32)
        self.register(secret, rights, project)
        return secret

    def register(self, secret: str, rights: Collection[str] = (), project: str = DEFAULT_PROJECT) -> None:
        """Make `secret` a key of a project; if it is one already, it gets these rights."""
        with self._database.transaction() as connection:
            project_id = keys.ensure_project(connection, ids.new("proj"), project)
            keys.upsert(connection, ids.new("key"), project_id, hashed=_hash(secret), hint=secret[-4:], rights=rights)

    def project(self, name: str) -> str:
        """The ID of the project called `name`.

        Raises:
            errors.NotFound: there is none; a project is made with its first key.
        """
        with self._database.connection() as connection:
            project_id = keys.find_project(connection, name)
        if project_id is None:
            raise errors.NotFound(f"There is no project '{name}'.")
        return project_id

    def listed(self) -> list[Listed]:
        """All keys, without the keys themselves."""
        with self._database.connection() as connection:
            return keys.listed(connection)

    def revoke(self, key_id: str) -> None:
        """Make a key useless, for good.

        Raises:
            errors.NotFound: there is no such key.
        """
        with self._database.connection() as connection:
            if not keys.revoke(connection, key_id):
                raise errors.NotFound(f"There is no key '{key_id}'.")


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
