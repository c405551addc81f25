"""The handler behind ``remedies.apply``: it applies the remedies that alerts propose, within a budget.

It runs in the training thread, as ``on_alert``. It may import all of ``remedies`` and what that may import.
"""
