"""One module for each group of targets: it measures, and adds its rows to the run."""
