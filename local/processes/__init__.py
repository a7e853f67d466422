"""Starts, supervises and stops the child processes of a local stack."""
