"""The detector: folds records into a state, decides which layers are dying or dead, and explains why.

Pure: no I/O, no clock, no randomness, so any thread may run it; in the SDK's local mode that is the sender thread.
It may import ``relumine.schemas`` and ``relumine_server.errors``, beside numpy.
"""
