"""The domain: use cases, types and SQL. It imports no web framework."""

from importlib.metadata import version

VERSION = version("backburner")
