# SPDX-License-Identifier: MIT
"""A link with a real machine, a transport that records, and a clock that stands still until it is moved."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, cast

from tieline import JSONRPCv2, Limits, NewlineFramer
from tieline.runtimes.host import Host
from tieline.runtimes.link import Link
from tieline.testing.clock import VirtualClock, VirtualTimer
from tieline.wire.jsonrpc.connection import Connection
from tieline.wire.jsonrpc.events import Event, ProtocolViolation
from tieline.wire.jsonrpc.reading import Request
from tieline.wire.jsonrpc.writing import Reply
from tieline.wire.limits import DEFAULT, Default


class FakeHost(VirtualClock):
    """The clock of the test kit; scenes look at what it has planned."""

    @property
    def soon(self) -> list[Callable[[], object]]:
        return self._soon

    @property
    def timers(self) -> list[VirtualTimer]:
        return self._timers


class FakeTransport:
    """Records the orders; what is written stays unsent while the peer takes nothing."""

    lower = None  # no layer

    def __init__(self) -> None:
        self.orders: list[str] = []
        self.writes: list[bytes] = []
        self.unsent = 0
        self.takes = True
        self.limits: tuple[int | None, int | None] = (None, None)
        self.half_closes = True
        self.pauses: Callable[[], None] | None = None  # what to tell when something is not taken

    def write(self, data: bytes, /) -> None:
        self.orders.append("write")
        self.writes.append(bytes(data))
        if not self.takes:
            self.unsent += len(data)
            if self.pauses is not None:
                self.pauses()

    def messages(self) -> list[Any]:
        return [json.loads(line) for line in b"".join(self.writes).splitlines()]

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.limits = (high, low)

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def can_write_eof(self) -> bool:
        return self.half_closes

    def is_closing(self) -> bool:
        return "abort" in self.orders or "close" in self.orders

    def get_extra_info(self, name: str, default: object = None) -> object:
        return default

    def __getattr__(self, name: str) -> Callable[[], None]:
        return lambda: self.orders.append(name)


class Sink:
    """Records what the link reports; answers requests by their method's name.

    When it is slow, it looks at the clock behind each event.
    """

    def __init__(self, host: FakeHost) -> None:
        self.host = host
        self.slow = False
        self.told: list[str] = []
        self.held: list[Request] = []
        self.gives_up = False  # what is held, when the end begins
        self.link: Link | None = None
        self.ends: Callable[[], None] | None = None  # what the method ``end`` does before it is answered
        self.asks_back: tuple[object, float] | None = (
            None  # what to ask the peer when it asks for something, and how long
        )

    def link_made(self, link: Link) -> None:
        self.link = link
        self.told.append("made")

    def never_made(self) -> None:
        self.told.append("never made")

    def handle_events(self, events: Sequence[Event], until: float) -> int:
        assert self.link is not None
        for index, event in enumerate(events):
            if index and self.slow and self.host.now() >= until:
                return index
            if isinstance(event, Request):
                if self.asks_back is not None:
                    params, timeout = self.asks_back
                    self.link.machine.send_request("back", params, "asked back", self.host.now(), timeout)
                    self.link.flush_soon()
                if event.method == "end" and self.ends is not None:
                    self.ends()
                if event.method == "hold":
                    self.held.append(event)
                elif event.method in ("plain", "digits"):
                    self.link.machine.replies.append(Reply(10**5000 if event.method == "digits" else 1, event.id))
                else:
                    self.link.machine.reply(event, event.params if event.method == "echo" else "x" * 30_000)
                    self.link.flush_soon()
            elif isinstance(event, ProtocolViolation):
                self.told.append("violation")
            else:
                self.told.append(f"{event[0]}: {type(event[2]).__name__ if event[2] else event[1]}")
        return len(events)

    def handle_one(self, event: Any) -> bytes | None:
        self.handle_events((event,), inf)
        return None

    def room_made(self) -> None:
        self.told.append("room")

    def end_begun(self) -> None:
        while self.gives_up and self.held and self.link is not None:
            self.link.machine.abandon(self.held.pop())
            self.link.flush_soon()

    def results_unsent(self, unsent: Sequence[tuple[Request, Exception]]) -> None:
        self.told += [f"unsent: {request.method}" for request, _ in unsent]

    def link_lost(self, error: BaseException | None) -> None:
        self.told.append(f"lost: {error!r}")


@dataclass
class Scene:
    link: Link[Connection]
    host: FakeHost
    transport: FakeTransport
    sink: Sink

    @property
    def machine(self) -> Connection:
        return self.link.machine

    def call(self, token: str, timeout: float | Default | None = DEFAULT) -> None:
        self.machine.send_request("m", None, token, self.host.time, timeout)
        self.link.flush_soon()

    def receive(self, *messages: Any) -> None:
        self.link.data_received(b"".join(json.dumps(message).encode() + b"\n" for message in messages))


def scene(*, accepted: bool = True, transport: FakeTransport | None = None, **limits: Any) -> Scene:
    host, transport = FakeHost(), transport or FakeTransport()
    sink = Sink(host)
    resolved = Limits(**{"call_timeout": None, "idle_timeout": None, **limits}).resolved(accepted=accepted)
    framer = NewlineFramer(max_size=cast("int", resolved.max_message))
    link = Link(Connection(JSONRPCv2, framer, resolved, accepted=accepted), sink, cast("Host", host))
    link.connection_made(transport)
    return Scene(link, host, transport, sink)


def request(number: int, method: str = "echo") -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": [number]}
