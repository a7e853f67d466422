"""Model servers that speak Chat Completions."""
