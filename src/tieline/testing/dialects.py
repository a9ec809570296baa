# SPDX-License-Identifier: MIT
"""The kit for dialects: two machines that speak one, and messages as the programs of a protocol write them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

from tieline.errors import LocalProtocolError, RPCError
from tieline.testing.contracts import checked, expect, numbered
from tieline.testing.cuts import cuts_of
from tieline.wire.framing.newline import NewlineFramer
from tieline.wire.governance import Governance
from tieline.wire.jsonrpc.connection import Connection
from tieline.wire.jsonrpc.events import ProtocolViolation
from tieline.wire.jsonrpc.items import RPCResponse
from tieline.wire.jsonrpc.protocols import protocol_for
from tieline.wire.jsonrpc.reading import Request
from tieline.wire.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tieline.wire.framing.base import FramerBase
    from tieline.wire.jsonrpc.dialects import Dialect

__all__ = ["DIALECT_CASES", "DialectRig"]

# All that JSON has, once.
VALUES: Final[tuple[Any, ...]] = (
    0,
    -1.5,
    "",
    "Grüße \U0001f600",
    True,
    False,
    [],
    {},
    [1, [2, {"a": None}]],
    {"b": "c"},
)


@dataclass(frozen=True)
class DialectRig:
    """A dialect under test.

    Attributes:
        dialect: The dialect.
        calls: Requests and notifications as programs of that protocol send them, without their framing.
        answers: Responses as they send them.
        refused: JSON texts that are no messages of that protocol: each is answered with an error or ends the
            connection, and no handler is called.
    """

    dialect: Dialect
    calls: Sequence[bytes] = field(default=())
    answers: Sequence[bytes] = field(default=())
    refused: Sequence[bytes] = field(default=())

    def __repr__(self) -> str:
        return f"DialectRig({self.dialect.name})"

    def framer(self) -> FramerBase[Any]:
        """Return a new framer as the dialect has it."""
        return (self.dialect.framer or NewlineFramer).with_limit(1 << 20)

    def machine(self, *, accepted: bool) -> Connection:
        """Return a new machine that speaks the dialect."""
        limits = Limits(governance=Governance(cost_hard_limit=0)).resolved(accepted=accepted)
        machine = Connection(protocol_for(self.dialect), self.framer(), limits, accepted=accepted)
        machine.start(0.0)
        return machine

    def params(self, value: Any) -> Any:
        """Return parameters that the dialect can carry, with *value* among them."""
        return [value] if self.dialect.positional_params else {"value": value}


class _Talk:
    """A client and a server."""

    def __init__(self, rig: DialectRig) -> None:
        self.client, self.server = rig.machine(accepted=False), rig.machine(accepted=True)
        self.said: list[bytes] = []  # by either

    def asked(self) -> list[Request]:
        """Let the server hear what the client has to say, and return the requests."""
        return _requests(self._carried(self.client, self.server))

    def told(self) -> list[Any]:
        """Let the client hear what the server has to say, and return how its calls ended."""
        return self._carried(self.server, self.client)

    def _carried(self, one: Connection, other: Connection) -> list[Any]:
        data = one.data_to_send() if one.has_output else b""
        self.said.append(data)
        return heard(other, data)


def heard(machine: Connection, data: bytes) -> list[Any]:
    """Return all that a machine makes of *data*."""
    events: list[Any] = list(machine.receive_data(data, 0.0))
    while machine.has_more:
        events += machine.next_events(0.0)
    return events


def _requests(events: Sequence[Any]) -> list[Request]:
    found = [event for event in events if isinstance(event, Request)]
    expect(len(found) == len(events), f"{len(events) - len(found)} other events", "requests alone")
    return found


def _only(requests: Sequence[Request]) -> Request:
    expect(len(requests) == 1, f"{len(requests)} requests", "one")
    return requests[0]


@checked("J3 J8", "a call and its parameters come over as they are, and so does the answer, to the call that it is for")
async def a_call_and_its_answer(rig: DialectRig) -> None:
    for value in VALUES:
        talk = _Talk(rig)
        talk.client.send_request("ask", rig.params(value), "token", 0.0)
        request = _only(talk.asked())
        expect((request.method, request.params) == ("ask", rig.params(value)), request.params, "what was sent")
        talk.server.reply(request, value)
        seen = talk.told()
        expect(seen == [("token", value, None)], repr(seen), f"the answer {value!r}")


@checked("J8", "answers may come in any order")
async def answers_in_any_order(rig: DialectRig) -> None:
    talk = _Talk(rig)
    for number in range(3):
        talk.client.send_request("ask", rig.params(number), number, 0.0)
    for request in reversed(talk.asked()):
        params = cast("Any", request.params)
        talk.server.reply(request, params[0 if rig.dialect.positional_params else "value"])
    seen = talk.told()
    expect(sorted(seen) == [(number, number, None) for number in range(3)], repr(seen), "each answer at its call")


@checked("J3", "an error comes over with its code and its text")
async def an_error_comes_over(rig: DialectRig) -> None:
    talk = _Talk(rig)
    talk.client.send_request("ask", None, "token", 0.0)
    talk.server.fail(_only(talk.asked()), RPCError(7, "no such thing"))
    ((token, _, error),) = talk.told()
    expect(token == "token", repr(token), "the call")
    expect(isinstance(error, RPCError), repr(error), "an RPCError")
    expect((error.code, error.message) == (7, "no such thing"), (error.code, error.message), "its code and text")


@checked("J3", "a notification is heard, and not answered")
async def a_notification_has_no_answer(rig: DialectRig) -> None:
    talk = _Talk(rig)
    talk.client.send_notification("note", rig.params("x"))
    request = _only(talk.asked())
    expect(request.method == "note", request.method, "the notification")
    talk.server.reply(request, "never sent")
    expect(not talk.server.has_output, "an answer", "none")


@checked("J10", "a batch is answered in full; where there are none, it is refused before anything is sent")
async def a_batch(rig: DialectRig) -> None:
    talk = _Talk(rig)
    methods, params = ("one", "note", "two"), (rig.params(1), None, rig.params(2))
    try:
        talk.client.send_batch(methods, params, ("first", None, "second"), 0.0)
    except LocalProtocolError:
        expect(not rig.dialect.batches, "a refusal", "a batch")
        expect(not talk.client.has_output, "bytes", "nothing sent")
        return
    expect(rig.dialect.batches, "a batch", "a refusal")
    for request in talk.asked():
        talk.server.reply(request, request.method)
    seen = talk.told()
    expect(sorted(seen) == [("first", "one", None), ("second", "two", None)], repr(seen), "both answers")


@checked("J3", "parameters of a kind that it has not are refused before anything is sent")
async def only_its_parameters(rig: DialectRig) -> None:
    kinds: tuple[tuple[bool, Any], ...] = ((rig.dialect.positional_params, [1]), (rig.dialect.named_params, {"a": 1}))
    for is_there, params in kinds:
        talk = _Talk(rig)
        try:
            talk.client.send_request("ask", params, "token", 0.0)
        except LocalProtocolError:
            expect(not is_there, f"a refusal of {params!r}", "a call")
            expect(not talk.client.has_output, "bytes", "nothing sent")
        else:
            expect(is_there, f"a call with {params!r}", "a refusal")
            expect(_only(talk.asked()).params == params, "others", "the parameters as they are")


@checked(
    "S7", "a call that is taken back is named in the words of the dialect, if it has any; its late answer is dropped"
)
async def a_call_is_taken_back(rig: DialectRig) -> None:
    talk = _Talk(rig)
    number = talk.client.send_request("ask", None, "token", 0.0)
    request = _only(talk.asked())
    talk.client.forget(number)
    rule = rig.dialect.cancel
    told = talk.asked()
    if rule is None:
        expect(not told, f"{told!r}", "nothing: there is no word for it")
    else:
        word = _only(told)
        wanted = [number] if rule.id_name is None else {rule.id_name: number}
        expect((word.method, word.params) == (rule.method, wanted), word.params, f"{rule}")
        found = talk.server.requests.find(number)
        expect(found is request, repr(found), "the request that is meant")
    talk.server.reply(request, "late")
    expect(talk.told() == [], "an end", "nothing of an answer that comes late")


@checked("J2", "wherever what is said is cut, the same is heard")
async def the_same_at_every_cut(rig: DialectRig) -> None:
    talk = _Talk(rig)
    talk.client.send_request("ask", rig.params("x"), "one", 0.0)
    talk.client.send_notification("note", None)
    talk.client.send_request("ask", None, "two", 0.0)
    whole = [(one.method, one.params, one.id) for one in talk.asked()]
    for pieces in cuts_of(talk.said[0]):
        machine = rig.machine(accepted=True)
        seen = [one for piece in pieces for one in _requests(heard(machine, piece))]
        again = [(one.method, one.params, one.id) for one in seen]
        expect(again == whole, f"{again} behind {len(pieces[0])} bytes", f"{whole}")


@checked("J4 J5", "what programs of the protocol write is read; what is none of it is refused")
async def messages_of_others(rig: DialectRig) -> None:
    for call in rig.calls:
        request = _only(_requests(heard(rig.machine(accepted=True), rig.framer().frame([call]))))
        expect(isinstance(request.method, str), repr(request.method), "the name of a method")
    for answer in rig.answers:
        item = protocol_for(rig.dialect).message_to_item(answer)
        expect(isinstance(item, RPCResponse), repr(item), f"a response in {answer!r}")
    for refused in rig.refused:
        machine = rig.machine(accepted=True)
        events = heard(machine, rig.framer().frame([refused]))
        is_heard = any(not isinstance(event, ProtocolViolation) for event in events)
        expect(not is_heard, f"{events!r} of {refused!r}", "no request")
        expect(machine.has_output or events, f"nothing of {refused!r}", "an error reply, or the end")


DIALECT_CASES: Final = numbered(
    a_call_and_its_answer,
    answers_in_any_order,
    an_error_comes_over,
    a_notification_has_no_answer,
    a_batch,
    only_its_parameters,
    a_call_is_taken_back,
    the_same_at_every_cut,
    messages_of_others,
)
