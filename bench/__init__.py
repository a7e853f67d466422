"""Benchmarks: measures each path of the product next to a floor on the same machine and reports the ratio.

Terms:
- path: an operation of the product, such as a poll or a submit (a background create request);
- floor: the minimal program that does the same kind of work, such as a bare Flask GET for a poll;
- row: the measurements for one target, and their floor if there is one;
- measure: a function that adds rows or additional figures.
"""
