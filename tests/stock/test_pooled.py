"""A deployment on Debian's servers, through PgBouncer in transaction mode, where connection `options` cannot be sent."""

from tests.stock.behavior import Behavior

POOLED = True


class TestPooled(Behavior):
    pass
