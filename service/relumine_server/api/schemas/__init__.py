"""Request bodies and query parameters. Response models are those of ``relumine.schemas``."""
