"""One module per group of targets; each of them measures its targets and adds their benchmark rows to the run."""
