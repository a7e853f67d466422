"""One module per measure of the group, which adds its rows to the run."""
