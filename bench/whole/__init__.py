"""Benchmarks of the complete system: all parts that `make up` starts, realistic limits, and clients of all kinds.

In names, F1 is the floor of no-op Celery tasks with Flower (`bench.whole.noops`), and F2 is the floor of a bare relay
(`bench.floors.relay`).
"""
