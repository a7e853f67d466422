"""Endpoints: each function parses the request, calls one use case and renders the answer."""
