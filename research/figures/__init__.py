"""The figures of ``docs/detection.md``, drawn from runs of the corpus. Needs matplotlib."""
