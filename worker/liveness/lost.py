"""What redis-py raises where a connection is lost."""

from redis.exceptions import RedisError

# The last is uvloop's, where the connection breaks in the very moment in which something is written to it.
LOST = (RedisError, OSError, RuntimeError)
