"""The client and operator side of a response: create, read, cancel, delete, list, requeue."""
