"""The exceptions that a Redis client raises when its connection is lost."""

from redis.exceptions import RedisError

# uvloop raises RuntimeError if the connection breaks during a write.
CONNECTION_ERRORS = (RedisError, OSError, RuntimeError)
