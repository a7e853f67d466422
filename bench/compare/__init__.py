"""`make compare`: two commits measured by turns on one machine, and which rows of the benchmark became worse."""
