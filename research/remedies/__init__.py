"""Remedies tried on trainings: those of the corpus that die, and deep narrow nets by their initialization."""
