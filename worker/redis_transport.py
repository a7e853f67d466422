"""kombu's Redis transport, for which a Redis that turns into a replica is a lost connection."""

import redis.exceptions
from kombu.transport import redis as kombu_redis


class Transport(kombu_redis.Transport):
    """Reconnects where Redis refuses a command, as it does during a failover.

    kombu takes the refusal for an error of the program: a worker would then drain and leave.
    """

    connection_errors = (*kombu_redis.Transport.connection_errors, redis.exceptions.ResponseError)
