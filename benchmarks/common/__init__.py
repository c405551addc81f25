"""Tools that several benchmarks share: a Postgres cluster, server processes, statistics of repeated measurements."""
