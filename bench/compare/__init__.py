"""`make compare`: benchmarks two commits alternately on one machine and reports the rows that became worse."""
