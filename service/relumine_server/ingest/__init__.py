"""Ingest of uploads: one transaction stores the records, advances the detector and applies its findings to alerts.

Uploads are decoded and ingested in worker threads. The package may import every feature package but ``auth``,
``maintenance`` and ``webhooks``; it knows nothing of HTTP.
"""
