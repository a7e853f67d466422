"""What a key may be allowed to do; pure data."""

from collections.abc import Collection
from enum import StrEnum


class Right(StrEnum):
    """Something a key may do in its projects."""

    READ = "read"
    WRITE = "write"
    CANCEL = "cancel"
    NO_LIMIT = "no-limit"
    ADMIN = "admin"


# What a key is given where nothing else is said.
USUAL = frozenset({Right.READ, Right.WRITE, Right.CANCEL})
ALL = frozenset(Right)


def complete(rights: Collection[str]) -> frozenset[str]:
    """The rights of a key made with these: none means the usual ones, and so does `no-limit`, no use by itself."""
    named = frozenset(str(right) for right in rights)
    return named | USUAL if named <= {Right.NO_LIMIT} else named
