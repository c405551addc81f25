"""Rows in and out. Queries are named functions that take a session; nothing here decides."""
