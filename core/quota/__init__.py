"""Limits of projects: admission, token buckets, the length of the queue, and the usage ledger."""
