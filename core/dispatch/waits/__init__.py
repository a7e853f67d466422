"""Why queued responses do not run: one answer for operators and, without internal details, for clients."""
