"""Routes, one module for each resource of the API. They do not call each other."""
