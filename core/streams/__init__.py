"""Reading a response while it runs: event streams, long polls and foreground requests."""
