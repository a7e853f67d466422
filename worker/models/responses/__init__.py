"""The client of model servers with the Responses API."""
