"""One module per group of targets, which measures them and adds their rows to the run."""
