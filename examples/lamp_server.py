# SPDX-License-Identifier: MIT
"""Lamps that are set by packets: `python lamp_server.py [URL]`; Ctrl+C or SIGTERM stops it.

Shows: typed packets in both directions, how to handle invalid ones, state that all connections share. The packets are
lines of JSON, so any program can send one: {"lamp": "hall", "to": 40}
"""

import asyncio
import sys

import msgspec

import tieline
from tieline.clients.abc import AbstractAsyncNetworkClient
from tieline.exceptions import StreamProtocolParseError
from tieline.protocol import StreamProtocol
from tieline.serializers import JSONSerializer


class Order(msgspec.Struct):
    lamp: str
    to: int | None = None  # percent; None only asks


class State(msgspec.Struct, tag="state"):
    lamp: str
    percent: int


class Refusal(msgspec.Struct, tag="refusal"):
    why: str


Answer = State | Refusal
PROTOCOL: StreamProtocol[Answer, Order] = StreamProtocol(JSONSerializer(type=Order))
lamps = {"hall": 0, "kitchen": 0}


def answer_to(order: Order) -> Answer:
    if order.lamp not in lamps:
        return Refusal(f"there is no lamp {order.lamp!r}")
    if order.to is not None:
        lamps[order.lamp] = max(0, min(order.to, 100))
    return State(order.lamp, lamps[order.lamp])


async def handle(client: AbstractAsyncNetworkClient[Answer, Order]) -> None:
    """Talk to one client, for as long as it stays; this is called once for each."""
    while True:
        try:
            async for order in client:
                await client.send_packet(answer_to(order))
        except StreamProtocolParseError as exc:
            await client.send_packet(Refusal(str(exc)))
        else:  # it has gone, or this server shuts down
            return


async def main(url: str) -> None:
    async with tieline.serve(handle, url, protocol=PROTOCOL) as server:
        print(server.url, flush=True)  # the real one: with port 0 the system has chosen
        await server.serve_forever()


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "tcp://127.0.0.1:4008"))
    except KeyboardInterrupt:
        print("stopped")
