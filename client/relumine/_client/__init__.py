"""Requests of ``relumine.Client`` by topic, and their common part. No HTTP library."""
