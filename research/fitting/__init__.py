"""Fits of the constants in ``relumine_server.detection`` on the corpus."""
