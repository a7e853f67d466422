"""The `backburner` command-line interface."""
