"""Runs the application: sockets, uvicorn with limits, several processes, shutdown."""
