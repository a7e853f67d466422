"""A deployment on Debian's servers, through PgBouncer in transaction mode, without connection `options`."""

from tests.stock.behavior import Behavior

POOLED = True


class TestPooled(Behavior):
    pass
