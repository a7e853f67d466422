"""The rows of the table of measures: each module computes the rows of one subject from a source tree."""
