"""Policies of projects: their storage, and backtests of another policy on stored runs.

The package may import ``runs``, ``timeseries``, ``detection``, ``db`` and what stands below them.
"""
