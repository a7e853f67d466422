"""The exceptions that redis-py raises when a connection is lost."""

from redis.exceptions import RedisError

# uvloop raises RuntimeError if the connection breaks while data is being written to it.
LOST = (RedisError, OSError, RuntimeError)
