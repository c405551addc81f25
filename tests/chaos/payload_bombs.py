"""Compression bombs, lying lengths, slow and endless bodies, while other clients upload as usual: the cost to both.

    python -m tests.chaos.payload_bombs [--seconds 45]

Bombs in gzip, zstd and JSON, lengths that lie, one body of a gigabyte in chunks after the other, and 500 connections
that send a byte a second, half of them in the head and half in the body. Prints the answers to each attack, how much
the server's memory grew at its peak, and the latency of the other clients with and without the attacks.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter

from tests.chaos import attack
from tests.chaos.payload_attacks import SLOW_CONNECTIONS, SlowConnections, attack_requests, send, send_endless

ATTACK_PAUSE_S = 0.2
SLOW = f"{SLOW_CONNECTIONS} slow connections"
ENDLESS = "1 GiB in chunks"


def prepare() -> None:
    """Make the requests; the attack itself finds them made."""
    attack_requests()


def send_bombs(port: int, seconds: float) -> Counter[str]:
    """Attack for a while: slow connections and endless bodies throughout, the requests one after the other."""
    requests = attack_requests()
    answers = {name: Counter[str]() for name in (*requests, ENDLESS, SLOW)}
    stop = threading.Event()
    deadline = time.monotonic() + seconds

    def repeat_endless() -> None:
        while not stop.wait(1.0):
            send_endless(port, answers[ENDLESS])

    slow = SlowConnections(port, answers[SLOW])
    threads = [threading.Thread(target=slow.run, args=(stop,)), threading.Thread(target=repeat_endless)]
    for thread in threads:
        thread.start()
    for name in itertools.cycle(requests):
        if time.monotonic() > deadline:
            break
        send(port, requests[name], answers[name])
        time.sleep(ATTACK_PAUSE_S)  # five a second
    stop.set()
    for thread in threads:
        thread.join()
    return Counter({f"{name}: {status}": count for name in answers for status, count in answers[name].items()})


def is_refusal(answer: str) -> bool:
    """Return whether an attack was answered as it must be: with 4xx, or with the end of its connection."""
    status = answer.rpartition(": ")[2]
    return status == "closed" or status.startswith("4")


if __name__ == "__main__":
    attack.main(__doc__, send_bombs, prepare=prepare, is_expected=is_refusal)
