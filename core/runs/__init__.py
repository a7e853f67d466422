"""The worker's side of a response: claims, leases, events and ends."""
