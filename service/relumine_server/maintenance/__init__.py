"""Maintenance of the database: the background worker, a backup of a SQLite file, and checks for an operator.

The worker runs in a thread of its own; the backup and the checks are commands, and take no lock. The package may import
every feature package but ``ingest``, ``auth`` and ``webhooks``; it knows nothing of HTTP.
"""
