"""The cost of watching a training: time per step and memory, also of compiled models."""
