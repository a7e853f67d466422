"""The rows of the table of measures: one module per subject, which computes its rows from a source tree."""
