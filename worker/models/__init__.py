"""Model servers: requests, answers, endpoints and failures, for each API they speak."""
