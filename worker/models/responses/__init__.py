"""Model servers that speak the Responses API."""
