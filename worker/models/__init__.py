"""Clients of model servers: requests, answers, endpoints and failures, for each supported API."""
