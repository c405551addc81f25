"""Analysis of a model by single forwards outside of its training: ``check``, born-dead risk, layer chains, unit paths.

It runs in the thread that calls it and leaves the model, its buffers and the random generators unchanged.
It may import ``_capture``, ``_torch``, ``_runtime`` and ``schemas``.
"""
