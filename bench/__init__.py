"""Benchmarks: measures each path of the product next to a floor on the same machine and reports the ratio.

A floor is the minimal program that does the same kind of work, such as a bare Flask GET for a poll.
"""
