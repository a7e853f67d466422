"""Measures that add curves and figures to the report, and no row."""
