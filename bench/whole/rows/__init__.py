"""One module per measure of the complete system; each of them adds its benchmark rows to the run."""
