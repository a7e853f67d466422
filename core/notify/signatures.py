"""Signatures of notifications: without the key, another program with access to Redis cannot forge one."""

import hashlib
import hmac
import re
from collections.abc import Sequence

_SIGNATURE_BYTES = 16
_PURPOSE = b"bb notification"


class Signatures:
    """Signs messages with the first of a list of secret keys, and verifies them with all of these keys.

    Args:
        secret: the keys, separated by commas or whitespace; None if there are none, so that no message is signed and no
            signature is valid.
    """

    def __init__(self, secret: str | None) -> None:
        keys = [key.encode() for key in re.split(r"[\s,]+", secret or "") if key]
        self._keys: Sequence[bytes] = [hashlib.sha256(_PURPOSE + key).digest() for key in keys]

    @property
    def has_key(self) -> bool:
        """Whether messages can be signed."""
        return bool(self._keys)

    def sign(self, message: bytes) -> bytes:
        """Return the signature of a message as ASCII text without spaces; there must be a key."""
        return _signature(self._keys[0], message)

    def is_valid(self, message: bytes, signature: bytes) -> bool:
        """Whether the signature was made for this message, with one of the keys."""
        return any(hmac.compare_digest(_signature(key, message), signature) for key in self._keys)


def _signature(key: bytes, message: bytes) -> bytes:
    return hashlib.blake2b(message, key=key, digest_size=_SIGNATURE_BYTES).hexdigest().encode()
