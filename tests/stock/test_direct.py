"""A deployment on Debian's servers, with direct connections to PostgreSQL."""

from tests.stock.behavior import Behavior

POOLED = False


class TestDirect(Behavior):
    pass
