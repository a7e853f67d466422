"""`python -m bench.soak`: a steady mixed load for minutes, and whether any process grows meanwhile."""
