"""The cost of uploads: decoding, the whole request, what is stored, and other servers for comparison."""
