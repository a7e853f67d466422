"""The client of model servers with the Chat Completions API."""
