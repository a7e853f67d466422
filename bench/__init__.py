"""Benchmarks: measure operations of the product alternately with floors on the same machine, and report the ratios.

Terms:
- product: Backburner; as the name of a series of figures, its measured operation, such as a poll or a submit (a
  background create request);
- floor: a minimal program that does the same kind of work, such as a bare Flask GET for a poll, and its figures;
- row, or benchmark row: the figures for one target, with those of the floor if there is one;
- measure: a function that adds rows or additional figures to a run;
- slice: one measurement under load for a fixed duration;
- whole: in names, the complete system of `bench.whole`.
"""
