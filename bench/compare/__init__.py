"""`make compare`: benchmarks two commits alternately on one machine and reports benchmark rows that became worse."""
