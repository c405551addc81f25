"""Fresh databases of both kinds, and the option that chooses between them."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.common.postgres import Cluster

KINDS = ("sqlite", "postgres")


def add_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--databases`` to a command line."""
    parser.add_argument("--databases", nargs="+", choices=KINDS, default=list(KINDS))


@contextmanager
def fresh_database(cluster: Cluster | None) -> Iterator[str]:
    """Yield the URL of an empty database: of the cluster, else a SQLite file; delete it afterwards."""
    if cluster is None:
        with tempfile.TemporaryDirectory(prefix="relumine-bench-") as folder:
            yield f"sqlite:///{folder}/relumine.db"
        return
    url = cluster.new_database()
    yield url
    cluster.drop(url)
