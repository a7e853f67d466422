"""Limits of projects: admission, token buckets, queue depth and the usage ledger."""
