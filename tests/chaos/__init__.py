"""Rigs that disturb real processes for minutes and count what is lost: ``python -m tests.chaos.server_kills``.

Each exits with 1 if a promise was broken; ``make chaos`` runs them. pytest does not collect them.
"""
