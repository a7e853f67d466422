"""The client of model servers that speak Chat Completions."""
