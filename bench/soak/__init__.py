"""`python -m bench.soak`: checks whether any process grows under a steady mixed load of several minutes."""
