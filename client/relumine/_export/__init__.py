"""The way from sampled steps to acknowledged uploads: queue, aggregation, encoding, transport, spool.

Runs in the sender thread; only ``SampleQueue.put`` and ``UploadBuilder.describe`` are called from the training thread.
May import ``_capture``'s values, ``_runtime`` and ``schemas``; never torch, and httpx in ``transport`` alone.
"""
