"""Benchmarks: measures each path of the product next to a floor on the same machine and reports the ratio.

Terms: a *floor* is the minimal program that does the same kind of work, such as a bare Flask GET for a poll. A *row*
is the benchmark row of one target: its measurements, and their floor if it has one. A *measure* is a function that
adds rows or additional figures.
"""
