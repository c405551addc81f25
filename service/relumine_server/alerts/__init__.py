"""Alerts: the lifecycle that findings, people, the clock and the end of a run drive, with suppression and silences.

Everything runs in the transaction of its caller; only the evaluator has a thread of its own. The package may import
``policies``, ``outbox``, ``runs``, ``timeseries``, ``detection`` and what is below them; it knows nothing of HTTP.
"""
