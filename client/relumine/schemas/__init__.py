"""Schemas of the wire: uploads as the SDK sends them, and answers as the server gives them.

One definition for both sides: the server imports it. Plain values; it may import pydantic and numpy only.
"""
