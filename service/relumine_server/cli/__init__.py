"""The command line of the server. Each command is thin: it reads settings, calls one function and prints."""
