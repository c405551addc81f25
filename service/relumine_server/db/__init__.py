"""The database: SQLite with one writing thread, or Postgres, behind ``Database.read`` and ``Database.write``.

The package may import ``settings`` and what stands below it; it knows nothing of the features whose tables it declares.
"""
