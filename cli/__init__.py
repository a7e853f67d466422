"""The command `backburner`: what operators type."""
