"""One module for each measure of the group: it measures, and adds its rows to the run."""
