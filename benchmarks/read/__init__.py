"""The cost of reading stored series."""
