# SPDX-License-Identifier: MIT
"""A driver of machines for tests: bytes in, a trivial dispatcher behind the events, and all output parsed.

Replies are told in a short form: ``["=", result, id]`` or ``[code, id]``, a batch as the list of its members' forms
in a fixed order. They are compared as JSON text, which keeps 0, 0.0, false and "0" apart.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from msgspec import UNSET, Raw

from tests.wire.limited import limited
from tieline.errors import RPCError
from tieline.wire.default import NOTHING
from tieline.wire.framing.newline import NewlineFramer
from tieline.wire.governance import Governance
from tieline.wire.jsonrpc.events import ProtocolViolation
from tieline.wire.jsonrpc.lone import LoneConnection
from tieline.wire.jsonrpc.protocols import JSONRPC, JSONRPCv2
from tieline.wire.jsonrpc.reading import PLAIN_IDS, Request
from tieline.wire.jsonrpc.writing import LONGEST_SETTLED, Reply, Settled

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tieline.wire.framing.base import FramerBase
    from tieline.wire.jsonrpc.connection import Connection
    from tieline.wire.jsonrpc.events import Event


UNGOVERNED = Governance(cost_hard_limit=0)


def connection(
    protocol: type[JSONRPC] = JSONRPCv2,
    *,
    framer: type[FramerBase] = NewlineFramer,
    accepted: bool = True,
    **limits: Any,
) -> Connection:
    """Return a machine, over newlines unless *framer* says otherwise.

    What the peer costs counts only where a test says so: it depends on how bytes were cut, and on the clock.
    """
    limits.setdefault("governance", UNGOVERNED)
    resolved = limited(accepted=accepted, **limits)
    assert isinstance(resolved.max_message, int | None)
    framed = framer.with_limit(resolved.max_message or 0)
    return LoneConnection(protocol, framed, resolved, accepted=accepted, longest_read=0.0)


def columns(members: Iterable[tuple[str, object, object]]) -> tuple[list[str], list[object], list[object]]:
    """Return the methods, the params and the tokens of a batch's members, as `Connection.send_batch` takes them."""
    listed = [*members]
    return [method for method, _, _ in listed], [params for _, params, _ in listed], [token for _, _, token in listed]


def exactly(value: object) -> str:
    """Return a text that is equal for equal JSON values of equal types only."""
    return json.dumps(value, sort_keys=True)


def answer_of(message: Any) -> list[Any]:
    """Return the short form of a response, which must be one to the letter of 2.0 or 1.0."""
    keys = set(message)
    if "jsonrpc" in keys:
        assert message["jsonrpc"] == "2.0"
        assert keys in ({"jsonrpc", "result", "id"}, {"jsonrpc", "error", "id"})
    else:
        assert keys == {"result", "error", "id"}
        assert message["result"] is None or message["error"] is None
    error = message.get("error")
    if error is None:
        return ["=", message["result"], message["id"]]
    assert set(error) <= {"code", "message", "data"}
    assert type(error["code"]) is int
    assert type(error["message"]) is str
    return [error["code"], message["id"]]


def reply_of(message: Any) -> list[Any]:
    """Return the short form of a response or of an array of them, whose order says nothing."""
    if isinstance(message, list):
        assert message, "an empty array was sent"
        return sorted((answer_of(member) for member in message), key=exactly)
    return answer_of(message)


def outcome_of(value: object, error: Exception | None) -> object:
    """Return the short form of how a call ended: its result, an error's code, or the name of the exception."""
    if error is None:
        return ["=", value]
    return error.code if isinstance(error, RPCError) else type(error).__name__


def errors(events: Sequence[Event]) -> list[Exception | None]:
    """Return how the calls ended that *events* end."""
    return [event[2] for event in events if isinstance(event, tuple)]


@dataclass
class Seen:
    """What a machine caused, in the order in which it did."""

    replies: list[Any] = field(default_factory=list)  # in short form
    ran: list[str] = field(default_factory=list)  # names of the methods that were executed
    ended: list[Any] = field(default_factory=list)  # [token, outcome]
    violations: list[str] = field(default_factory=list)  # names of the errors


class Driver:
    """One machine, driven as a link does it, with handlers that answer at once.

    The method ``hold`` answers nothing: its requests gather in `held`. A careful driver encodes each result at once,
    and takes no short way. What the machine says is cut by *reader*; None = it is lines.
    """

    def __init__(
        self,
        machine: Connection | None = None,
        *,
        calls: int = 0,
        now: float = 0.0,
        is_careful: bool = False,
        reader: FramerBase | None = None,
    ) -> None:
        self.machine = machine or connection()
        self.reader = reader
        self.is_careful = is_careful
        self.is_alone = False  # what is handled has come by itself, and the short way
        self.now = now
        self.seen = Seen()
        self.held: list[Request] = []
        self.requests: list[Any] = []  # what the machine sent that is no response
        self.sent = b""
        for number in range(calls):
            assert self.machine.send_request("ask", [number], f"call {number}", now) == number
        self.flush()

    def feed(self, data: bytes) -> None:
        """Have the machine take in *data* and deal with all that it causes."""
        machine = self.machine
        read = machine.receive_first if machine.is_stranger else machine.receive_one
        event = NOTHING if self.is_careful else read(data, self.now)
        if event is NOTHING:
            self.handle(self.machine.receive_data(data, self.now))
        else:
            self.is_alone = True
            self.handle((event,))
            self.is_alone = False
        self.run()

    def run(self) -> None:
        """Deal with all that the machine holds, then take its output."""
        while self.machine.has_more:
            self.handle(self.machine.next_events(self.now))
        self.flush()

    def flush(self) -> None:
        """Take the output."""
        if self.machine.has_output:
            self.take(self.machine.data_to_send())

    def take(self, data: bytes) -> None:
        """Take note of bytes that are to be sent."""
        self.sent += data
        if self.reader is None:
            *messages, rest = data.split(b"\n")
            assert not rest
        else:
            messages, fault = self.reader.take(data)
            assert fault is None
            assert not self.reader.pending
        for line in messages:
            message = json.loads(line.decode("utf-8"))
            first = message[0] if isinstance(message, list) else message
            if "method" in first:
                self.requests.append(message)
            else:
                self.seen.replies.append(reply_of(message))

    def handle(self, events: Iterable[Event]) -> None:
        for event in events:
            if isinstance(event, Request):
                self.execute(event)
            elif isinstance(event, ProtocolViolation):
                self.seen.violations.append(type(event.error).__name__)
            else:
                token, value, error = event
                self.seen.ended.append([token, outcome_of(value, error)])

    def execute(self, request: Request) -> None:
        """Run a request's method."""
        name = request.method
        assert isinstance(name, str)
        if name == "hold":
            self.held.append(request)
            return
        method = METHODS.get(name)
        if method is None:
            self.machine.fail(request, self.machine.protocol.method_not_found("unknown method"))
            return
        self.seen.ran.append(name)
        try:
            result = method([] if request.params is UNSET else request.params)
        except RPCError as error:
            self.machine.fail(request, error)
        except (TypeError, LookupError):
            self.machine.fail(request, self.machine.protocol.args_error("they do not fit"))
        else:
            self.answer(request, result)

    def answer(self, request: Request, result: object) -> None:
        """Answer as sessions do: what is plain may be encoded later, with other results, or past them all."""
        machine = self.machine
        if self.is_alone and isinstance(machine, LoneConnection):
            data = machine.answer_one(request, result)
            if data is not None:
                self.take(data)
                return
        if self.is_careful:
            machine.reply(request, result)
        elif result.__class__ in machine.plain_results and request.id.__class__ in PLAIN_IDS:
            machine.replies.append(Reply(result, request.id))
        elif (encoded := machine.settled(result, request.id)) is None:
            machine.reply(request, result)
        elif len(encoded) > LONGEST_SETTLED:
            machine.reply(request, Settled(encoded))
        else:
            machine.replies.append(Reply(Raw(encoded), request.id))


def _fails(_params: object) -> object:
    raise RPCError(7, "failed", data={"why": "because"})


def _subtract(params: Any) -> object:
    if isinstance(params, dict):
        return params["minuend"] - params["subtrahend"]
    return params[0] - params[1]


def _nested(depth: int) -> list[object]:
    value: list[object] = []
    for _ in range(depth):
        value = [value]
    return value


def _circular(_params: object) -> object:
    value: list[object] = []
    value.append(value)
    return value


_DEPTHS = _nested(100_000)

METHODS: dict[str, Any] = {
    "echo": lambda params: params[0],
    "args": lambda params: params,
    "nothing": lambda params: None,
    "sum": sum,
    "subtract": _subtract,
    "get_data": lambda params: ["hello", 5],
    "update": lambda params: None,
    "notify_hello": lambda params: None,
    "notify_sum": lambda params: None,
    "postMessage": lambda params: 1,
    "handleMessage": lambda params: None,
    "userLeft": lambda params: None,
    "fails": _fails,
    "gives_object": lambda params: object(),
    "gives_circle": _circular,
    "gives_depths": lambda params: _DEPTHS,
    "gives_digits": lambda params: 10**5000,
    "gives_doubled": lambda params: params[0] + params[0],
    "gives_nan": lambda params: [float("nan"), float("-inf")],
    "gives_surrogate": lambda params: "\ud800",
}


def pieces(wire: bytes, cuts: Sequence[int]) -> list[bytes]:
    """Return *wire* cut at the offsets *cuts*."""
    edges = [0, *cuts, len(wire)]
    return [wire[start:end] for start, end in pairwise(edges)]
