# SPDX-License-Identifier: MIT
"""Look for what stays in a server of each kind of client that has come and gone, one kind at a time:

`python -m tests.soak.growth [--loop trio] [--count 200] [--rounds 4] [--traced] [--governed] [part of a kind ...]`

After each round the server collects its garbage, and tells what is in use. The first round fills what is kept anyway.
With --traced it tells where the memory was made that has come since then; a governed server keeps accounts as well.
"""

import argparse
import asyncio
import random
import ssl
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

from tests.attacks.raw import Peer
from tests.certificates import Certificates
from tests.soak.figures import Outcome
from tests.soak.honest import Client, World, bare_stay, session_stay
from tests.soak.hostile import ADDRESSES, ATTACKS, STAY
from tests.soak.ledger import Ledger
from tests.soak.running import served

__all__ = ["Kind", "kinds"]

CALM = 4  # looks in a row at which nobody is there
PATIENCE = 120.0  # seconds for an answer
TOLD = 10
AT_ONCE_HONEST, AT_ONCE_HOSTILE = 20, 50
HONEST = ("tcp", "bare", "unix", "tls", "ws")
HOSTILE = ("tcp", "unix", "tls", "no tls", "ws")
Kind = Callable[[int, int], int]
"""Has so many clients come and go, from a seed, and returns how many were let in."""


class Hurried(World):
    """Clients that do not rest."""

    def waited(self, seconds: float) -> None: ...


def honest(urls: dict[str, str], ca: str, transport: str, count: int, seed: int) -> int:
    """Have *count* honest clients come, give their orders and go."""
    world = Hurried(urls, ca, Ledger(), 0.0)

    async def stay(numbers: list[int]) -> None:
        while numbers:
            number = numbers.pop()
            client = Client(f"client {number}", world, random.Random(seed * 1000 + number))
            await (bare_stay if transport == "bare" else session_stay)(client, transport)

    async def stays() -> None:
        numbers = list(range(count))
        await asyncio.gather(*(stay(numbers) for _ in range(AT_ONCE_HONEST)))

    asyncio.run(stays())
    assert world.ledger.is_balanced, world.ledger.faults
    return count


def hostile(urls: dict[str, str], attack: Callable[..., object], transport: str, count: int, seed: int) -> int:
    """Have *count* hostile clients come and do the one thing; over TCP from addresses that change."""

    def one(number: int) -> bool:
        at = (seed * 37 + number // STAY) % ADDRESSES
        source = None if transport == "unix" else f"127.0.{1 + at // 250}.{1 + at % 250}"
        with suppress(OSError, ssl.SSLError, AssertionError):
            with Peer(urls[transport.removeprefix("no ")], source, handshake=transport != "no tls") as peer:
                attack(peer, random.Random(seed * 1000 + number))
            return True
        return False

    with ThreadPoolExecutor(AT_ONCE_HOSTILE) as pool:
        return sum(pool.map(one, range(count)))


def kinds(urls: dict[str, str], ca: str) -> dict[str, Kind]:
    """Return all kinds of clients, by name."""
    found: dict[str, Kind] = {f"honest over {one}": partial(honest, urls, ca, one) for one in HONEST}
    for transport in HOSTILE:
        for attack in dict.fromkeys(ATTACKS):
            name = f"{attack.__name__.replace('_', ' ')} over {transport}"
            found[name] = partial(hostile, urls, attack, transport)
    return found


def measure(control: Peer, name: str, kind: Kind, count: int, rounds: int) -> None:
    """Print what stays of one kind."""
    seen: list[dict[str, int]] = []
    grown: dict[str, int] = {}
    came = 0
    before: dict[str, int] = control.call("memory", patience=PATIENCE)
    for number in range(rounds):
        done = kind(count, number)
        came += done if number else 0
        seen.append(settled(control, before["fds"]))
        if number in (0, rounds - 1):
            grown = control.call("grown", patience=PATIENCE)
    first, last = seen[0], seen[-1]
    per_thousand = 1000 / max(came, 1)
    cells = [
        f"{(last['in_use'] - first['in_use']) * per_thousand / 1024:+9.1f}",
        f"{(last['objects'] - first['objects']) * per_thousand:+9.1f}",
        f"{(last['anonymous'] - first['anonymous']) * per_thousand / 1024:+9.1f}",
        f"{(last['arenas'] - first['arenas']) / 1024:+8.0f}",
        f"{(last['heap'] - first['heap']) / 1024:+8.0f}",
    ]
    print(f"{name:36} {came:6} {' '.join(cells)}", flush=True)
    for what, more in list(grown.items())[:TOLD]:
        print(f"    {more:+} {what}")


def settled(control: Peer, files: int) -> dict[str, int]:
    """Return what the server holds when those who have come are gone: so many files are open then.

    Some may wait to be accepted still: so it looks several times.
    """
    found: dict[str, int] = {}
    calm = 0
    for _ in range(300):
        found = control.call("memory", patience=PATIENCE)
        calm = calm + 1 if found["fds"] <= files and found["running"] <= 1 else 0
        if calm == CALM:
            break
        control.pause(0.1)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.soak.growth", description=__doc__)
    parser.add_argument("kinds", nargs="*", help="parts of the names of the kinds to measure; none: all of them")
    parser.add_argument("--loop", choices=("asyncio", "uvloop", "trio"), default="asyncio")
    parser.add_argument("--count", type=int, default=200, help="clients of a kind in a round (200)")
    parser.add_argument("--rounds", type=int, default=4, help="rounds, the first of which does not count (4)")
    parser.add_argument("--traced", action="store_true", help="tell where memory was made")
    parser.add_argument("--governed", action="store_true", help="with the default limit of what may be cost")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        certificates = Certificates(Path(name))
        python = ("-X", "tracemalloc=12") if options.traced else ()
        given = () if options.governed else ("--ungoverned",)
        with served(options.loop, Path(name), certificates.server, Outcome(), *given, python=python) as (_, urls):
            print(f"{options.loop}: what stays, by 1000 clients but for the last two")
            print(f"{'kind':36} {'came':>6} {'KiB used':>9} {'objects':>9} {'KiB RSS':>9} {'arenas':>8} {'heap':>8}")
            control = Peer(urls["control"])
            for kind, run in kinds(urls, certificates.ca).items():
                if not options.kinds or any(part in kind for part in options.kinds):
                    measure(control, kind, run, options.count, options.rounds)
            control.close()


if __name__ == "__main__":
    main()
