"""The run of a response, from its claim to its end."""
