"""Callbacks for training frameworks: ``relumine.integrations.lightning`` and ``relumine.integrations.transformers``.

Each is imported by its name and needs its framework; nothing else of Relumine does. They run in the training
thread and may import every other part of the SDK.
"""
