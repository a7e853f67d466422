"""The exceptions that redis-py raises when a connection is lost."""

from redis.exceptions import RedisError

# uvloop raises RuntimeError if the connection breaks during a write.
CONNECTION_ERRORS = (RedisError, OSError, RuntimeError)
