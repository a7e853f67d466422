"""The client's and the operator's side of a response: create, read, cancel, delete, list, requeue."""
