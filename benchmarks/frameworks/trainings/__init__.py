"""Small trainings, one module per framework; each runs the framework's own loop or models on made-up data."""
