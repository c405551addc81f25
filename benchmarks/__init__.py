"""Measurements of cost: every module is a command that prints a table (``python -m benchmarks.ingest.throughput``).

They use the packages of the product from outside and are part of no distribution; tests never assert a time, these do
not either.
"""
