# SPDX-License-Identifier: MIT
"""Two machines wired back to back by bounded pipes, with transports that pause and resume as asyncio's do."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from tests.wire.jsonrpc.driving import connection
from tieline.errors import RPCError
from tieline.wire.jsonrpc.events import ProtocolViolation
from tieline.wire.jsonrpc.reading import Request

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tieline.wire.jsonrpc.connection import Connection
    from tieline.wire.jsonrpc.events import Event


class Pipe:
    """Bytes on their way in one direction; at most *capacity* of them, as a kernel holds them."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.data = bytearray()
        self.ended = False  # no byte will follow

    def take(self, size: int) -> bytes:
        data = bytes(self.data[:size])
        del self.data[:size]
        return data


class End:
    """One machine, the transport below it and the callers and handlers above it.

    Attributes:
        running: The requests whose handlers have not answered yet.
        ended: How often each token of a call came back, with what.
        made: The tokens of all calls that were made.
    """

    def __init__(self, machine: Connection, inward: Pipe, outward: Pipe) -> None:
        self.machine = machine
        self.inward, self.outward = inward, outward
        self.unsent = bytearray()  # the buffer of the transport
        self.running: list[Request] = []
        self.made: list[str] = []
        self.ended: dict[str, list[Any]] = {}
        self.violations: list[ProtocolViolation] = []
        self.is_lost = False
        self.most_unsent = 0
        self.seen_eof = False

    # --- the machine ---------------------------------------------------------------------------------------------

    def handle(self, events: Iterable[Event]) -> None:
        for event in events:
            if isinstance(event, Request):
                self.running.append(event)
            elif isinstance(event, ProtocolViolation):
                self.violations.append(event)
            else:
                token, value, error = event
                assert isinstance(token, str)
                self.ended.setdefault(token, []).append(value if error is None else error)

    def call(self, now: float, params: object, timeout: Any = None) -> int:
        token = f"call {len(self.made)}"
        call_id = self.machine.send_request("echo", params, token, now, timeout)
        self.made.append(token)
        return call_id

    def answer(self, number: int) -> None:
        """Have a handler echo its arguments."""
        request = self.running.pop(number)
        result = None if request.params is UNSET else request.params
        assert self.machine.reply(request, result) is None

    def fail(self, number: int) -> None:
        assert self.machine.fail(self.running.pop(number), RPCError(7, "failed")) is None

    # --- the transport -------------------------------------------------------------------------------------------

    def read(self, size: int, now: float) -> bool:
        """Read so many bytes, or go on with what the machine holds; return whether anything was done."""
        machine = self.machine
        if self.is_lost:
            self.inward.data.clear()
            return False
        if machine.has_more:
            self.handle(machine.next_events(now))
            return True
        if not machine.wants_data:
            return False
        if self.inward.data:
            self.handle(machine.receive_data(self.inward.take(size), now))
            return True
        if self.inward.ended and not self.seen_eof:
            self.seen_eof = True
            self.handle(machine.receive_eof(now))
            return True
        return False

    def write(self, size: int, now: float) -> bool:
        """Give the machine's output to the transport, and so many bytes of it to the pipe."""
        machine = self.machine
        if self.is_lost:
            return False
        moved = machine.has_output
        if moved:
            self.unsent += machine.data_to_send()
        self.most_unsent = max(self.most_unsent, len(self.unsent))
        limits = machine.limits
        if len(self.unsent) > limits.write_high_water and not machine.flow.paused:
            machine.writing_paused(len(self.unsent), now)
        size = min(size, len(self.unsent), self.outward.capacity - len(self.outward.data))
        if size > 0:
            self.outward.data += self.unsent[:size]
            del self.unsent[:size]
        if machine.flow.paused and len(self.unsent) <= limits.write_low_water:
            machine.writing_resumed()
        return moved or size > 0

    def tick(self, now: float) -> None:
        machine = self.machine
        if machine.deadline <= now:
            if machine.flow.paused:
                machine.writing_progressed(len(self.unsent), now)
            self.handle(machine.handle_deadline(now))

    def lose(self, error: BaseException | None) -> None:
        """The transport is gone."""
        if not self.is_lost:
            self.is_lost = True
            self.outward.ended = True
            self.unsent.clear()
            self.handle(self.machine.connection_lost(error))


def two_ends(capacity: int, protocol: Any = None, **limits: Any) -> tuple[End, End]:
    """Return a dialling and an accepting end."""
    there, back = Pipe(capacity), Pipe(capacity)
    more = {} if protocol is None else {"protocol": protocol}
    client = End(connection(accepted=False, **more, **limits), back, there)
    server = End(connection(accepted=True, **more, **limits), there, back)
    return client, server


def chunk(rng: random.Random) -> int:
    """Return a size of a read or a write, small as often as large."""
    return int(rng.choice([1, 10, 1000, 20_000, 300_000]) * rng.random()) + 1
