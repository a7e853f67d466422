"""Clients of model servers: requests, answers, endpoints and failures, for each API that model servers speak."""
