"""Servers, databases, receivers and trainings for tests. Nothing here is collected."""
