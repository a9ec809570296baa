# SPDX-License-Identifier: MIT
"""Honest clients: sessions of ours, and bare ones that see every byte which comes back."""

import json
import random
import zlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, cast

import tieline
from tests import aio
from tests.soak.ledger import End, Ledger
from tieline.cli.latencies import Latencies

__all__ = ["World", "be_cut", "live"]

GONE = (tieline.ConnectionLost, tieline.ClosedError, ConnectionError, EOFError)
# While a connection is made there are more ways.
NOT_MADE = (*GONE, OSError, tieline.WebSocketRefused)
# A busy machine may take its time: lost is what never comes.
PATIENCE = 120.0
LIMITS = tieline.Limits(call_timeout=300.0, handshake_timeout=PATIENCE, write_timeout=PATIENCE)
PATIENT = 10  # times as long as they wait clients rest, at least
TRANSPORTS = ("tcp", "tcp", "bare", "unix", "tls", "ws", "bare")


@dataclass
class World:
    """What all honest clients share.

    Attributes:
        urls: Of the server, by transport.
        ca: The authority that vouches for it.
        ledger: What they have asked for.
        pause: How many seconds a client rests between two orders, on the average; more while it has to wait long.
        is_over: They are to leave, in order.
        is_killed: The server was killed: that connections are lost is no wonder.
        present: How many clients are connected.
        came: How often one has connected.
        refused: How often one could not connect.
        waits: How long calls took that the server answers at once, since these were last set.
        slowness: About how long such calls take just now, in seconds.
    """

    urls: dict[str, str]
    ca: str
    ledger: Ledger
    pause: float
    is_over: bool = False
    is_killed: bool = False
    present: int = 0
    came: int = 0
    refused: int = 0
    waits: Latencies = field(default_factory=Latencies)
    slowness: float = 0.0

    def enter(self) -> None:
        """Take note that a client has connected."""
        self.present += 1
        self.came += 1

    def waited(self, seconds: float) -> None:
        """Take note of how long such a call took."""
        self.waits.add(seconds)
        self.slowness += (seconds - self.slowness) / 50

    def broke(self, client: "Client", error: BaseException) -> None:
        """Take note that a client's connection broke, or could not be made."""
        if self.is_killed:
            return
        if client.is_connected:
            self.ledger.check(f"the connection of {client.name}", repr(error), "none that breaks")
        else:
            self.refused += 1  # nothing was ordered yet: it comes again


async def live(number: int, world: World, rng: random.Random) -> None:
    """Be the honest client of that number until the end: come, ask, go, and come again."""
    transport = TRANSPORTS[number % len(TRANSPORTS)]
    stay = bare_stay if transport == "bare" else session_stay
    client = Client(f"client {number}", world, rng)
    await client.rest()
    while not (world.is_over or world.is_killed):
        try:
            await stay(client, transport)
        except NOT_MADE as exc:
            world.broke(client, exc)
        client.is_connected = False
        await client.rest()


class Client:
    """One honest client.

    Attributes:
        name: By which the server knows it.
        done: How often it had something done that the server counts.
        is_connected: Whether its connection stood.
    """

    def __init__(self, name: str, world: World, rng: random.Random) -> None:
        self.name = name
        self.world = world
        self.rng = rng
        self.ledger = world.ledger
        self.done = 0
        self.is_connected = False
        self._number = 0
        self._asked_of: dict[int, int] = {}  # how often the server has called back for each order
        self.methods = tieline.Methods()
        self.methods.method(name="answer")(self.answer)
        self.methods.method(name="progress")(self.progress)

    async def rest(self) -> None:
        pause = max(self.world.pause, PATIENT * self.world.slowness)
        until = aio.now() + min(self.rng.expovariate(1.0), 5.0) * pause
        while (left := until - aio.now()) > 0 and not (self.world.is_over or self.world.is_killed):
            await aio.sleep(min(left, 0.5))

    def new_order(self, wanted: Callable[[int], object]) -> tuple[int, tuple[str, int]]:
        """Enter a new order; return its number and its key."""
        self._number += 1
        key = (self.name, self._number)
        self.ledger.enter(key, wanted(self._number))
        return self._number, key

    def text(self) -> str:
        sizes = (0, 10, 100, 100, 1000, 1000, 5000, 60_000)
        return "äx" * (self.rng.randrange(self.rng.choice(sizes) + 1) // 2)

    def work(self) -> tuple[int, tuple[str, int], str]:
        """Enter an order of `work`; return its number, its key and its text."""
        text = self.text()
        number, key = self.new_order(lambda number: [self.name, number, zlib.crc32(text.encode())])
        self.done += 1
        return number, key, text

    async def settle(self, key: tuple[str, int], call: Awaitable[Any]) -> None:
        """Wait for the answer to an order."""
        try:
            self.ledger.answer(key, await call)
        except GONE as exc:
            if self.world.is_killed:
                self.ledger.end(key, End.CUT)
            else:
                self.ledger.lose(key, exc)
        except Exception as exc:
            self.ledger.lose(key, exc)

    def check_tally(self, seen: object) -> None:
        done, self.done = self.done, 0
        if not self.world.is_killed:
            self.ledger.check(f"what {self.name} had done", seen, done)

    # --- what the server calls -----------------------------------------------------------------------------------

    def answer(self, name: str, number: int) -> list[Any]:
        self._asked_of[number] = self._asked_of.get(number, 0) + 1
        return [name, number, self._asked_of[number]]

    def progress(self, name: str, number: int, index: int) -> None:
        self.ledger.check(f"the progress of {self.name}", [name, index], [self.name, self._asked_of.get(number, 0)])
        self._asked_of[number] = index + 1

    def forget(self, number: int) -> int:
        """Return how often the server has called back for an order, and forget it."""
        return self._asked_of.pop(number, 0)


async def be_cut(number: int, world: World) -> None:
    """Give an order that the server is busy with when it is killed."""
    client = Client(f"cut {number}", world, random.Random(number))
    async with tieline.connect(world.urls["tcp"], limits=LIMITS, connect_timeout=PATIENCE) as session:
        _, key = client.new_order(lambda _number: "held")
        await client.settle(key, session.call("hold", 60))


# --- with sessions ---------------------------------------------------------------------------------------------------


async def session_stay(client: Client, transport: str) -> None:
    """Connect, give some orders, and leave."""
    world = client.world
    tls = tieline.TLS(ca=world.ca) if transport == "tls" else None
    place: str | tieline.WebSocket = world.urls[transport]
    if transport == "ws":
        place = replace(cast("tieline.WebSocket", tieline.parse(world.urls[transport])), ping_timeout=PATIENCE)
    made = tieline.connect(place, client.methods, tls=tls, limits=LIMITS, connect_timeout=PATIENCE)
    async with made as session:
        world.enter()
        client.is_connected = True
        try:
            for _ in range(client.rng.randrange(10, 60)):
                if world.is_over or world.is_killed:
                    break
                await client.rng.choice(ORDERS)(client, session)
                await client.rest()
            with suppress(*(GONE if world.is_killed else ())):
                client.check_tally(await session.call("tally", client.name))
        finally:
            world.present -= 1
            if world.is_killed:
                client.done = 0
        # What had been given up comes late: it is dropped, and no error.
        client.ledger.check(f"faults that {client.name} saw", session.stats.errors, 0)


async def one_call(client: Client, session: tieline.ClientSession) -> None:
    number, key, text = client.work()
    start = aio.now()
    await client.settle(key, session.call("work", client.name, number, text))
    client.world.waited(aio.now() - start)


async def some_calls(client: Client, session: tieline.ClientSession) -> None:
    async with aio.TaskGroup() as group:
        for _ in range(client.rng.randrange(2, 20)):
            number, key, text = client.work()
            seconds = client.rng.choice((0.0, 0.001, 0.05))
            call = session.call("work_later", client.name, number, text, seconds)
            group.create_task(client.settle(key, call))


async def a_batch(client: Client, session: tieline.ClientSession) -> None:
    orders = [client.work() for _ in range(client.rng.randrange(1, 10))]
    batch = session.new_batch()
    for number, _, text in orders:
        batch.add_request("work", [client.name, number, text])
    results: Any = [tieline.ConnectionLost("the batch was lost")] * len(orders)
    with suppress(*GONE):
        session.send_batch(batch)
        await batch
        results = batch.results
    for (_, key, _), result in zip(orders, results, strict=True):
        await client.settle(key, outcome(result))


async def outcome(value: Any) -> Any:
    """Return a result, or raise the exception that stands in its place."""
    if isinstance(value, Exception):
        raise value
    return value


async def notes(client: Client, session: tieline.ClientSession) -> None:
    for _ in range(client.rng.randrange(1, 20)):
        client.done += 1
        await session.notify("note", client.name)


async def a_call_back(client: Client, session: tieline.ClientSession) -> None:
    number, key = client.new_order(lambda number: [client.name, number, 1])
    await client.settle(key, session.call("ask_back", client.name, number))
    client.forget(number)


async def progress(client: Client, session: tieline.ClientSession) -> None:
    most = client.rng.randrange(1, 30)
    number, key = client.new_order(lambda _number: most)
    await client.settle(key, session.call("count_up", client.name, number, most))
    heard = client.forget(number)
    if not client.world.is_killed:
        client.ledger.check(f"the progress that {client.name} heard", heard, most)


async def given_up(client: Client, session: tieline.ClientSession) -> None:
    """Give a call up while it runs, or is answered."""
    _, key = client.new_order(lambda _number: "held")
    try:
        seen = await session.call("hold", 0.05, timeout=client.rng.choice((0.0, 0.02, 0.05, 0.06)))
    except TimeoutError:
        client.ledger.end(key, End.GIVEN_UP)
    except GONE as exc:
        await client.settle(key, outcome(exc))
    else:
        client.ledger.answer(key, seen)


Order = Callable[[Client, tieline.ClientSession], Awaitable[None]]
ORDERS: tuple[Order, ...] = (
    one_call, one_call, one_call, one_call, some_calls, a_batch, notes, a_call_back, progress, given_up,
)  # fmt: skip


# --- bare ------------------------------------------------------------------------------------------------------------


async def bare_stay(client: Client, _transport: str) -> None:
    """Do the same by hand: here an answer that comes twice is seen."""
    world = client.world
    host, port = world.urls["tcp"].removeprefix("tcp://").split(":")
    reader, writer = await aio.open_connection(host, int(port), limit=1 << 20)
    world.enter()
    client.is_connected = True
    try:
        for _ in range(client.rng.randrange(5, 30)):
            if world.is_over or world.is_killed:
                break
            await some_lines(client, reader, writer)
            await client.rest()
        await bare_tally(client, reader, writer)
        writer.write_eof()
        rest = await reader.read()  # what had come twice, and last, would be there
        if not world.is_killed:
            client.ledger.check(f"what came to {client.name} at the end", rest, b"")
    finally:
        world.present -= 1
        if world.is_killed:
            client.done = 0
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def some_lines(client: Client, reader: Any, writer: Any) -> None:
    """Send some calls in one write, or in two that cut a line, and read as many answers."""
    orders = [client.work() for _ in range(client.rng.choice((1, 1, 1, 2, 10, 30)))]
    keys = {number: key for number, key, _ in orders}
    data = b"".join(call_of(number, "work", client.name, number, text) for number, _, text in orders)
    cut = client.rng.randrange(len(data))
    start = aio.now()
    try:
        writer.write(data[:cut])
        await aio.sleep(0)
        writer.write(data[cut:])
        await writer.drain()
        while keys:
            found = await answer(reader)
            number = found["id"]
            client.ledger.answer(keys.pop(number, (client.name, -1)), found.get("result", found.get("error")))
    except GONE as exc:
        for key in keys.values():
            if client.world.is_killed:
                client.ledger.end(key, End.CUT)
            else:
                client.ledger.lose(key, exc)
        raise
    if len(orders) == 1:
        client.world.waited(aio.now() - start)


async def bare_tally(client: Client, reader: Any, writer: Any) -> None:
    writer.write(call_of("tally", "tally", client.name))
    found = await answer(reader)
    if found.get("id") != "tally":
        client.ledger.answer((client.name, -1), found)
    else:
        client.check_tally(found["result"])


def call_of(call_id: object, method: str, *params: object) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "method": method, "params": params, "id": call_id}).encode() + b"\n"


async def answer(reader: Any) -> Any:
    line = await reader.readline()
    if not line.endswith(b"\n"):
        raise EOFError("the connection was closed")
    return json.loads(line)
