"""The corpus: recipes of healthy and faulty trainings, their data sets and models, and the ground truth of each run."""
