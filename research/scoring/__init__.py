"""Scores: detector and published rules against the ground truth, sensitivity to their inputs, and their cost."""
