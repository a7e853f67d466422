"""Tests of `checks/`, on real git repositories and small source trees."""
