# SPDX-License-Identifier: MIT
"""Machines of message sessions, and what tests ask of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tests.wire.limited import limited
from tieline import FramerBase, NewlineFramer
from tieline.wire.messages import MessageConnection, MessageReceived
from tieline.wire.one_way import ConnectionEnded
from tieline.wire.states import State

PING = (b"ping", b"12345678")


def machine_of(framer: FramerBase[Any] | None = None, *, accepted: bool = True, **limits: Any) -> MessageConnection:
    machine = MessageConnection(framer or NewlineFramer(), limited(accepted=accepted, **limits), accepted=accepted)
    machine.start(0.0)
    return machine


# Asked by functions, since a type checker takes an attribute for what it was when it was last looked at.


def state_of(machine: MessageConnection) -> State:
    return machine.state


def has_more(machine: MessageConnection) -> bool:
    return machine.has_more


def wants_data(machine: MessageConnection) -> bool:
    return machine.wants_data


def is_smooth(machine: MessageConnection) -> bool:
    return machine.is_smooth


def has_room(machine: MessageConnection) -> bool:
    return machine.has_room


def is_stranger(machine: MessageConnection) -> bool:
    return machine.is_stranger


def has_output(machine: MessageConnection) -> bool:
    return machine.has_output


def messages(events: Sequence[MessageReceived | ConnectionEnded]) -> list[Any]:
    return [event.message if isinstance(event, MessageReceived) else event.error for event in events]


def all_events(machine: MessageConnection, data: bytes, now: float = 1.0) -> list[MessageReceived | ConnectionEnded]:
    """Feed *data* and take all that comes of it, each message done at once."""
    events = [*machine.receive_data(data, now)]
    done = 0
    while True:
        for event in events[done:]:
            if isinstance(event, MessageReceived):
                machine.done(event)
        done = len(events)
        if not has_more(machine):
            return events
        events += machine.next_events(now)


class Fragile(NewlineFramer):
    """Fails at a line "bug", as a user's framer may, and drops lines "bad" as damaged."""

    def messages(self, data: bytes) -> Iterator[bytes]:
        for line in super().messages(data):
            if line == b"bug":
                raise KeyError(line)
            if line == b"bad":
                self.damaged += 1
            else:
                yield line
