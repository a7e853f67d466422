"""The client of model servers that speak the Responses API."""
