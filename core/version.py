"""The version of this program, as its package metadata states it."""

from importlib.metadata import version

VERSION = version("backburner")
