"""Runs and their projects: rows, answers of the API, and retention.

Functions take an open connection. The package may import ``timeseries``, ``detection``, ``db`` and what stands
below them.
"""
