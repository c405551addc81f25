"""The user's side of the SDK: ``watch``, ``Monitor``, the step loop, the sampling schedule, alerts and messages.

Runs in the training thread, between two steps; only ``AlertDispatcher.receive`` is called from the sender thread.
May import every other room; wires ``_capture`` to ``_export``.
"""
