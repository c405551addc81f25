"""Capture: from a pre-activation to the statistics of a sampled step.

Runs in the training thread, on the device, and never waits for the device.
Imports ``_torch``, ``_runtime`` and ``schemas``; no HTTP, no JSON, nothing of ``_export``.
"""
