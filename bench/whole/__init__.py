"""The whole system under load: every part that `make up` starts, limits as a deployment sets them, mixed clients."""
