"""The rows of the table of measures, one module per subject; each computes its rows from a source tree."""
