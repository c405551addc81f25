"""The foundation of the SDK within a process of the user: settings, logging, error guard, overhead, process events.

Called from the training thread and the sender thread alike. May import ``relumine.schemas`` and ``relumine.errors``.
"""
