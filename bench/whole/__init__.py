"""Benchmarks of the complete system: all parts that `make up` starts, realistic limits, and mixed clients."""
