"""Bodies of millions of empty gzip members and zstd frames, while other clients upload as usual.

    python -m tests.chaos.gzip_members [--seconds 45]

Five bodies a second, from 512 KiB to 16 MiB. Prints the answers, how much the server's memory grew at its peak, and the
latency of the other clients with and without the attack.
"""

from __future__ import annotations

import gzip
import itertools
import time
from collections import Counter

import zstandard

from tests.chaos import attack
from tests.chaos.payload_attacks import MAX_BODY, encoded_request, send

PAUSE_S = 0.2
PARTS = {
    "gzip": (gzip.compress(b""), gzip.compress(b" ")),
    "zstd": (zstandard.compress(b""), b"\x50\x2a\x4d\x18" + bytes(4)),
}
SIZES = (MAX_BODY // 32, MAX_BODY // 8, MAX_BODY)


def send_members(port: int, seconds: float) -> Counter[str]:
    """Send bodies of one part over and over."""
    answers: Counter[str] = Counter()
    deadline = time.monotonic() + seconds
    parts = [(encoding, part) for encoding, kinds in PARTS.items() for part in kinds]
    for (encoding, part), size in itertools.cycle(itertools.product(parts, SIZES)):
        if time.monotonic() > deadline:
            break
        send(port, encoded_request(encoding, part * (size // len(part))), answers)
        time.sleep(PAUSE_S)  # the rate of the attack
    return answers


if __name__ == "__main__":
    attack.main(__doc__, send_members)
