"""Benchmarks: measure operations of the product alternately with floors on the same machine, and report the ratios.

Terms:
- product: in names, the operation that is measured, such as a poll or a submit (a background create request);
- floor: the minimal program that does the same kind of work, such as a bare Flask GET for a poll;
- row: the measurements for one target, with the floor if there is one;
- measure: a function that adds rows or additional figures.
"""
