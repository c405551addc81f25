"""The outbox: notifications that are owed, written in the transaction of the alerts they report.

It stores webhooks, deliveries, leases and attempts, and decides when an attempt is due; it never sends anything.
May import ``db``, ``errors``, ``clock`` and the schemas.
"""
