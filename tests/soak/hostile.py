# SPDX-License-Identifier: MIT
"""Hostile clients, each a thread: `python -m tests.soak.hostile --urls JSON --count 50 --seed 7 --pause 1`.

It writes what it has done as a JSON line now and then, and goes on until it is killed, or its standard input ends. Over
TCP each client comes from addresses of its own, and changes them: what one has cost is not to keep the others out.
"""

import argparse
import json
import os
import random
import socket
import ssl
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from tests.attacks.fuzzing import cut, flip, insert, noise, repeat
from tests.attacks.raw import Peer, line, lines

__all__ = ["ATTACKS"]

ADDRESSES = 2000  # twice as many as a server has accounts for
STAY = 8  # how often a client comes from one address
Attack = Callable[[Peer, random.Random], object]

CONVERSATION = (
    line("work", "nobody", 1, "text")
    + line("echo", {"a": [1, 2.5, None, True, "Grüße"]}, id="x")
    + line("hold", 0.01, id=3)
    + line("text_of", 3000, id=4)
    + b"[" + line("echo", 1, id=5)[:-1] + b"," + line("nope", id=None)[:-1] + b"]\n"
)  # fmt: skip


def garbage(peer: Peer, rng: random.Random) -> None:
    peer.send(rng.randbytes(10_000), patience=2)


def spoiled(peer: Peer, rng: random.Random) -> None:
    data = CONVERSATION
    for _ in range(rng.choice((1, 1, 2, 4))):
        data = rng.choice((flip, cut, repeat, insert, noise))(data, rng) or b"\0"
    peer.send(data[:100_000], patience=2)
    peer.read_more(0.2)


def parse_errors(peer: Peer, _rng: random.Random) -> None:
    for _ in range(60):
        if not peer.send(b"{broken\n", patience=2):
            break


def too_long(peer: Peer, _rng: random.Random) -> None:
    peer.send(b"x" * 2_000_000, patience=2)


def too_deep(peer: Peer, _rng: random.Random) -> None:
    peer.send(b"[" * 100_000 + b"\n" + b'{"a":' * 300 + b"1" + b"}" * 300 + b"\n", patience=2)


def large_batches(peer: Peer, _rng: random.Random) -> None:
    calls = [line("echo", 1, id=number)[:-1] for number in range(1500)]
    peer.send(b"[" + b",".join(calls) + b"]\n[" + b"1," * 5000 + b"1]\n", patience=2)
    peer.read_more(0.2)


def trickle(peer: Peer, rng: random.Random) -> None:
    for byte in CONVERSATION[: rng.randrange(100)]:
        if not peer.send(bytes((byte,)), patience=1):
            break
        peer.pause(0.02)


def half_a_message(peer: Peer, rng: random.Random) -> None:
    peer.send(CONVERSATION[: rng.randrange(1, 40)])
    if rng.random() < 0.5:
        peer.reset()
    else:
        peer.shutdown_write()
        peer.read_more(0.5)


def calls_and_a_reset(peer: Peer, _rng: random.Random) -> None:
    peer.send(lines("hold", range(200), 0.05), patience=1, reads=False)
    peer.reset()


def reads_nothing(peer: Peer, _rng: random.Random) -> None:
    peer.send(lines("text_of", range(20), 400_000), patience=1, reads=False)
    peer.pause(1.0)
    peer.reset()


def all_slots(peer: Peer, _rng: random.Random) -> None:
    peer.send(lines("hold", range(100), 3), patience=1)
    peer.pause(2.0)


def one_id_twice(peer: Peer, _rng: random.Random) -> None:
    peer.send(line("hold", 0.05, id=1) * 5, patience=1)
    peer.read_more(0.2)


def false_answers(peer: Peer, rng: random.Random) -> None:
    for _ in range(30):
        false = b'{"jsonrpc":"2.0","result":1,"id":%d}\n' % rng.randrange(1000)
        if not peer.send(false, patience=1):
            break


def other_protocols(peer: Peer, rng: random.Random) -> None:
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + rng.randbytes(100)
    post = b"POST / HTTP/1.1\r\nHost: x\r\n\r\n" + line("work", "nobody", 1, "")
    peer.send(rng.choice((hello, post)), patience=1)
    peer.read_more(0.2)


def comes_and_goes(peer: Peer, rng: random.Random) -> None:
    for _ in range(20):
        with Peer(peer.url, peer.source, handshake=False) as other:
            if rng.random() < 0.5:
                other.reset()


ATTACKS: tuple[Attack, ...] = (
    garbage, spoiled, spoiled, spoiled, parse_errors, too_long, too_deep, large_batches, trickle, half_a_message,
    calls_and_a_reset, reads_nothing, all_slots, one_id_twice, false_answers, other_protocols, comes_and_goes,
)  # fmt: skip
# Plain bytes at a TLS port are an attack as well; over WebSockets none of these gets further than the handshake.
TRANSPORTS = ("tcp", "tcp", "tcp", "tls", "no tls", "ws")


def live(number: int, urls: dict[str, str], seed: int, pause: float, done: Counter[str]) -> None:
    """Be the hostile client of that number until the process ends."""
    rng = random.Random(seed * 1000 + number)
    visit = rng.randrange(ADDRESSES)
    time.sleep(rng.random() * pause)
    while True:
        attack, transport = rng.choice(ATTACKS), rng.choice(TRANSPORTS)
        visit += 1
        at = (number * 37 + visit // STAY) % ADDRESSES
        source = f"127.0.{1 + at // 250}.{1 + at % 250}"
        name = attack.__name__
        try:
            with Peer(urls[transport.removeprefix("no ")], source, handshake=transport == "tls") as peer:
                attack(peer, rng)
        except (OSError, ssl.SSLError, AssertionError):
            name = "turned away"  # as many are that cost too much
        done[name] += 1
        time.sleep(min(rng.expovariate(1.0), 5.0) * pause)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--urls", type=json.loads, required=True, help="the server's, by transport")
    parser.add_argument("--count", type=int, required=True, help="how many clients")
    parser.add_argument("--seed", type=int, required=True, help="of all that they do")
    parser.add_argument("--pause", type=float, default=2.0, help="seconds between two attacks, on the average")
    options = parser.parse_args()
    socket.setdefaulttimeout(5.0)
    done: Counter[str] = Counter()
    for number in range(options.count):
        threading.Thread(
            target=live, args=(number, options.urls, options.seed, options.pause, done), daemon=True
        ).start()

    def tell() -> None:
        while True:
            time.sleep(0.25)
            with suppress(RuntimeError):  # another thread is adding a kind of attack
                print(json.dumps(done), flush=True)

    threading.Thread(target=tell, daemon=True).start()
    sys.stdin.buffer.read()  # until whoever started it is gone
    os._exit(0)


if __name__ == "__main__":
    main()
