"""Judgement of hosts, addresses and URLs: what a name may be, and where a webhook may be sent.

Pure: it resolves nothing and connects to nothing, so any thread may use it. It may import idna, and nothing else of the
server.
"""
