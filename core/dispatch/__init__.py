"""Dispatch: chooses which waiting responses are enqueued next, within capacity, limits and fair shares."""
