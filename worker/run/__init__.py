"""One response's run: from the claim to the end."""
