"""Tests. They mirror the source: ``server`` and ``sdk``; ``helpers`` is imported by tests, ``chaos`` runs apart."""
