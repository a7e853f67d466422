"""Measures that add curves and figures to the report, but no benchmark rows."""
