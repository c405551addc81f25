"""Telling receivers: pure modules decide what and when, the courier sends."""
