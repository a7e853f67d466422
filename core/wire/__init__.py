"""OpenAI's wire format: requests, the response object, items and events. No I/O."""
