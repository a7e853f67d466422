"""The worker side of a response: claims, leases, events and ends."""
