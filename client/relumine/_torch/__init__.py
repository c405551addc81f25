"""Helpers around PyTorch; the only place for names that torch keeps private.

Called from the training thread. What runs on every step never waits for a device.
Imports torch and nothing else of the SDK; no HTTP, no JSON.
"""
