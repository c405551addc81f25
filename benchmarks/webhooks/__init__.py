"""The cost of notifications: enqueueing many, and what a webhook that does not answer costs the others."""
