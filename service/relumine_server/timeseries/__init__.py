"""The series of a run: segments, chunks, per-unit statistics and logged metrics, written, compacted, read and replayed.

Functions take an open connection. The package may import ``detection``, ``db`` and what stands below them; it knows
nothing of runs, alerts or HTTP.
"""
