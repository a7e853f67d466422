"""Whether this worker is registered, receives messages and makes progress."""
