"""Callbacks for training frameworks: ``relumine.integrations.lightning`` and ``relumine.integrations.transformers``.

Each is imported by name and needs the framework it is named after; nothing else of Relumine does.
"""
