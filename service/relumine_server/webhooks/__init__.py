"""Webhook delivery: leases due deliveries from the outbox, renders, signs and sends them, and records the attempts.

The dispatcher runs in a thread of its own and starts one thread for each attempt in flight. May import ``outbox``,
``alerts``, ``runs``, ``net`` and ``db``.
"""
