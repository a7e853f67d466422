"""Circuit breakers of models: while all servers of a model are unavailable, nothing is dispatched for it."""
