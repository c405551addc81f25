"""API keys, browser sessions, permissions, and the project that a resource belongs to."""
