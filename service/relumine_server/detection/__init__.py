"""The detector: records in, readings and findings out. Pure: no I/O, no clock, no randomness, no logging."""
