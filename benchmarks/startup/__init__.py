"""What the start of a command costs."""
