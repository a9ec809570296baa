# SPDX-License-Identifier: MIT
"""The short ways for a call or a request that nothing goes on beside come to the same as the ways of all."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, Any, cast

import pytest
from msgspec import UNSET, Raw

from tests.wire.jsonrpc.driving import UNGOVERNED
from tieline.errors import LocalProtocolError
from tieline.wire.default import NOTHING
from tieline.wire.flow import MUCH_OUTPUT
from tieline.wire.framing.base import FramerBase
from tieline.wire.framing.content_length import ContentLengthFramer
from tieline.wire.framing.newline import NewlineFramer
from tieline.wire.governance import Governance
from tieline.wire.jsonrpc.batch_members import BatchMember, Outcomes
from tieline.wire.jsonrpc.connection import Connection
from tieline.wire.jsonrpc.dialects import V2
from tieline.wire.jsonrpc.items import RPCResponse
from tieline.wire.jsonrpc.lone import LoneConnection
from tieline.wire.jsonrpc.other_codecs import StdlibCodec
from tieline.wire.jsonrpc.outgoing import RPCRequestOut
from tieline.wire.jsonrpc.protocols import JSONRPC, JSONRPCv1, JSONRPCv2, protocol_for
from tieline.wire.jsonrpc.reading import Request
from tieline.wire.jsonrpc.writing import Reply
from tieline.wire.limits import DEFAULT, Default, Limits
from tieline.wire.messages import MessageConnection

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST = b'{"jsonrpc":"2.0","id":0,"result":"first"}\n'


class Shouting(JSONRPCv2):
    """Reads as all do, and writes otherwise."""

    @classmethod
    def response_message(cls, item: RPCResponse) -> bytes:
        return super().response_message(item)


def framed_by(framer: type[FramerBase], limits: Limits) -> FramerBase:
    assert isinstance(limits.max_message, int)
    return framer.with_limit(limits.max_message)


def fresh(
    protocol: type[JSONRPC] = JSONRPCv2, framer: type[FramerBase] = NewlineFramer, **limits: Any
) -> LoneConnection:
    """Return a machine of a client that has not been heard from."""
    limits.setdefault("governance", UNGOVERNED)
    resolved = Limits(**limits).resolved(accepted=False)
    framed = framed_by(framer, resolved)
    return LoneConnection(protocol, framed, resolved, accepted=False, longest_read=0.05)


def quiet(**settings: Any) -> LoneConnection:
    """Return one that has made a call and been answered."""
    machine = fresh(**settings)
    machine.start(0.0)
    machine.send_request("first", [], "first token", 0.0)
    machine.data_to_send()
    assert machine.receive_data(FIRST, 0.5) == [("first token", "first", None)]
    assert machine.is_smooth
    return machine


def facts(machine: LoneConnection) -> dict[str, object]:
    """Return all that a call and its answer change."""
    return {
        "open": dict(machine.calls.open),
        "next": machine.calls.next_id,
        "sent": (machine.messages_sent, machine.bytes_sent, machine.output_size, machine.has_output),
        "received": (machine.messages_received, machine.messages_read, machine.bytes_received, machine.last_received),
        "behind answer": machine.has_read_behind_answer,
        "smooth": (machine.is_smooth, machine.wants_data, machine.has_more, machine.has_unread),
        "state": machine.state,
    }


@pytest.mark.parametrize(
    ("method", "params"),
    [("add", (1, 2)), ("add", {"a": 1, "b": "2"}), ("nul\n", ["\n"]), ("none", None), ("x" * 300, [[]] * 300)],
)
def test_both_ways_come_to_the_same(method: str, params: Any) -> None:
    short, long = quiet(), quiet()
    for number, answer in enumerate([b"3", b"null", b'"text"', b"[[],{}]"], 1):
        data = b'{"jsonrpc":"2.0","id":%d,"result":%b}\n' % (number, answer)
        assert long.send_request(method, params, "token", 1.0) == number
        asked = short.ask(method, params, "token")
        assert asked == long.data_to_send()
        short.bytes_sent += len(asked or b"")  # as the driver does
        assert facts(short) == facts(long)
        (event,) = long.receive_data(data, 2.0)
        assert ("token", short.answer(data, "token", 2.0), None) == event
        assert facts(short) == facts(long)
    assert short.has_read_behind_event  # an answer by the short way is no event, so none is the last one


def asked_before() -> LoneConnection:
    """Return one that has been asked and has not made a call."""
    machine = fresh()
    machine.start(0.0)
    (request,) = machine.receive_data(b'{"jsonrpc":"2.0","method":"m"}\n', 0.5)
    assert isinstance(request, Request)
    machine.reply(request, None)
    return machine


def new() -> LoneConnection:
    """Return one that has just been connected."""
    machine = fresh()
    machine.start(0.0)
    return machine


@pytest.mark.parametrize("prepare", [new, asked_before])
def test_the_first_call_goes_the_same_way(prepare: Callable[[], LoneConnection]) -> None:
    short, long = prepare(), prepare()
    assert long.send_request("add", [1, 2], "token", 1.0) == 0
    asked = short.ask("add", [1, 2], "token")
    assert asked == long.data_to_send()
    short.bytes_sent += len(asked or b"")  # as the driver does
    assert short.deadline == inf
    short.give_time("token", 1.0, DEFAULT)
    assert short.deadline == long.deadline
    long.receive_data(FIRST, 2.0)  # by which it is smooth, if nothing had come before
    assert short.answer(FIRST, "token", 2.0) == "first"
    assert facts(short) == facts(long)


def test_what_both_refuse_is_refused_in_the_same_way() -> None:
    for params in ({1, 2}, [object()], "text"):
        machine = quiet()
        with pytest.raises(TypeError) as seen:
            machine.ask("add", params, "token")
        with pytest.raises(TypeError) as expected:
            machine.send_request("add", params, "token", 1.0)
        assert str(seen.value) == str(expected.value)
        assert facts(machine) == facts(quiet())


def busy() -> dict[str, LoneConnection]:
    """Return machines on which something else goes on, by what that is."""
    found = {name: quiet() for name in ("a call", "output", "a reply", "a sender", "closing", "a limit", "paused")}
    found["a call"].send_request("other", [], "other", 1.0)
    found["a call"].data_to_send()
    found["output"].send_notification("note", [])
    found["a sender"].flow.senders_waiting = 1
    found["closing"].close()
    found["a limit"] = quiet(max_message=60)
    found["less time than the driver waits"] = quiet(call_timeout=0.05)
    found["paused"].writing_paused(100_000, 1.0)
    (request,) = found["a reply"].receive_data(b'{"jsonrpc":"2.0","id":9,"method":"m"}\n', 1.0)
    found["a reply"].replies.append(_reply(request.id))  # type: ignore[union-attr]  # it is one
    found["no lines"] = fresh(framer=ContentLengthFramer)
    found["no lines"].start(0.0)
    found["no lines"].send_request("first", [], "first token", 0.0)
    found["no lines"].data_to_send()
    found["no lines"].receive_data(b"Content-Length: %d\r\n\r\n%b" % (len(FIRST), FIRST), 0.5)
    assert found["no lines"].is_smooth
    found["not connected"] = fresh()
    return found


def _reply(request_id: object) -> Any:
    from tieline.wire.jsonrpc.writing import Reply

    return Reply(1, request_id)


@pytest.mark.parametrize("name", sorted(busy()))
def test_it_is_left_to_the_other_way_when_anything_else_goes_on(name: str) -> None:
    machine = busy()[name]
    before = facts(machine)
    assert machine.ask("add", ["a long one" * 5], "token") is None
    assert facts(machine) == before


# --- calls that leave together ---------------------------------------------------------------------------------------


def calling(**settings: Any) -> LoneConnection:
    """Return one that waits for an answer."""
    machine = quiet(**settings)
    machine.send_request("other", [], "other", 1.0)
    return machine


class ByJson(JSONRPCv2):
    """Has another codec."""

    codec = StdlibCodec()


@pytest.mark.parametrize("protocol", [JSONRPCv2, Shouting, ByJson])
@pytest.mark.parametrize(
    ("method", "params"),
    [("add", (1, 2)), ("none", ()), ("add", {"a": 1, "b": "2"}), ("nul\n", ("\n",)), ("x" * 300, ([[]] * 300,))],
)
def test_calls_that_leave_together_come_to_the_same(method: str, params: Any, protocol: type[JSONRPC]) -> None:
    short, long = calling(protocol=protocol), calling(protocol=protocol)
    for _ in range(2):
        for number in range(3):
            call_id = long.send_request(method, params, number, 1.0)
            assert short.ask_with_others(method, params, number) == call_id
            assert facts(short) == facts(long)
        assert short.data_to_send() == long.data_to_send()
        assert facts(short) == facts(long)
    answer = b'{"jsonrpc":"2.0","id":3,"result":3}\n'
    assert short.receive_data(answer, 2.0) == long.receive_data(answer, 2.0) == [(1, 3, None)]
    assert short.deadline == long.deadline


def busy_with_calls() -> dict[str, LoneConnection]:
    """Return machines that have to have a closer look at a call, by why."""
    found = {name: machine for name, machine in busy().items() if name not in {"a call", "output"}}
    found["nothing planned"] = quiet()
    while found["nothing planned"].deadline < inf:
        found["nothing planned"].handle_deadline(found["nothing planned"].deadline)
    found["nothing planned"].send_request("other", [], "other", 50.0, None)
    assert found["nothing planned"].is_smooth
    assert found["nothing planned"].calls.is_idle
    found["no room"] = calling(max_calls=1)
    found["much output"] = calling()
    found["much output"].send_notification("note", ["x" * MUCH_OUTPUT])
    found["another dialect"] = fresh(protocol=JSONRPCv1)
    found["another dialect"].start(0.0)
    found["another dialect"].send_request("other", [], "other", 0.0)
    return found


@pytest.mark.parametrize("name", sorted(busy_with_calls()))
def test_a_call_is_left_to_the_other_way_when_it_needs_a_closer_look(name: str) -> None:
    machine = busy_with_calls()[name]
    before = facts(machine)
    assert machine.ask_with_others("add", ("a long one" * 5,), "token") is None
    assert facts(machine) == before


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("add", {1, 2}),
        ("add", (object(),)),
        (7, (1,)),
        ("add", (Raw(b"1\n"),)),
        ("add", ("x" * 20_000,)),
    ],
)
def test_a_call_that_is_not_plain_is_left_to_the_other_way(method: Any, params: Any) -> None:
    machine = calling()
    before = facts(machine)
    assert machine.ask_with_others(method, params, "token") is None
    assert facts(machine) == before


# --- answers ---------------------------------------------------------------------------------------------------------

ANSWER = b'{"jsonrpc":"2.0","id":1,"result":3}\n'
ODD: dict[str, bytes] = {
    "an error": b'{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"m"}}\n',
    "a late answer": FIRST,
    "another id": b'{"jsonrpc":"2.0","id":2,"result":3}\n',
    "a text as id": b'{"jsonrpc":"2.0","id":"1","result":3}\n',
    "two": ANSWER + ANSWER,
    "one and a half": ANSWER + b"{",
    "a part": ANSWER[:-1],
    "two lines": ANSWER.replace(b",", b"\n,", 1),
    "a request": b'{"jsonrpc":"2.0","id":1,"method":"m"}\n',
    "no JSON": b"hello\n",
    "deep": b'{"jsonrpc":"2.0","id":1,"result":' + b"[" * 200 + b"]" * 200 + b"}\n",
    "long": b'{"jsonrpc":"2.0","id":1,"result":"%b"}\n' % (b"x" * 300),
    "the end": b"",
}


@pytest.mark.parametrize("name", sorted(ODD))
def test_an_answer_that_is_not_plain_changes_nothing(name: str) -> None:
    machine = quiet()
    machine.ask("add", [1, 2], "token")
    before = facts(machine)
    assert machine.answer(ODD[name], "token", 2.0) is NOTHING
    assert facts(machine) == before


def test_an_answer_is_not_taken_while_more_has_to_be_done_for_it() -> None:
    kinds = ("a sender waits", "not smooth", "in a message", "a look is due")
    machines = {name: quiet() for name in kinds}
    machines["a look is due"]._look_received = len(FIRST) + len(ANSWER) - 1
    for name, machine in machines.items():
        machine.ask("add", [1, 2], "token")
        if name == "a sender waits":
            machine.flow.senders_waiting = 1
        elif name == "not smooth":
            machine.charge(1.0)
        elif name == "in a message":
            cast("NewlineFramer", machine._framer).is_between = False
        before = facts(machine)
        assert machine.answer(ANSWER, "token", 2.0) is NOTHING, name
        assert facts(machine) == before


def test_an_answer_goes_to_the_call_that_it_names() -> None:
    machine = quiet()
    machine.ask("add", [1, 2], "token")
    machine.send_request("other", [], "other", 1.0)
    assert machine.answer(b'{"jsonrpc":"2.0","id":2,"result":3}\n', "token", 2.0) is NOTHING
    assert machine.answer(ANSWER, "token", 2.0) == 3
    assert machine.calls.open == {2: "other"}


def test_a_call_that_a_look_is_planned_for_ends_as_those_with_the_default_timeout() -> None:
    planned, entered = quiet(), quiet()
    for machine in (planned, entered):
        machine.handle_deadline(40.0)
        assert machine.deadline == inf
    planned.ask("slow", [], "token")
    planned.plan_look(50.0)
    entered.send_request("slow", [], "token", 50.0)
    assert planned.deadline == entered.deadline < inf
    now = 50.0
    while planned.calls.open:
        now = planned.deadline
        assert now == entered.deadline
        assert list(map(str, planned.handle_deadline(now))) == list(map(str, entered.handle_deadline(now)))
    assert 80.0 <= now <= 85.0


def test_a_look_that_is_planned_puts_off_no_earlier_one() -> None:
    machine = quiet()
    machine.handle_deadline(40.0)
    machine.send_request("quick", [], "quick", 50.0, 0.5)
    machine.data_to_send()
    machine.receive_data(ANSWER, 50.1)
    assert not machine.calls.open
    machine.ask("slow", [], "token")
    machine.plan_look(50.2)
    assert machine.deadline == 50.5
    assert not machine.handle_deadline(50.5)
    assert 50.5 < machine.deadline < 60.0


@pytest.mark.parametrize(
    ("timeout", "early", "late"), [(5.0, 5.9, 6.0), (0, 0.9, 1.0), (DEFAULT, 30.9, 35.0), (None, 1e6, inf)]
)
def test_a_call_that_waits_for_longer_is_given_its_time(
    timeout: float | Default | None, early: float, late: float
) -> None:
    machine = quiet()
    machine.handle_deadline(40.0)
    assert machine.deadline == inf
    machine.ask("slow", [], "token")
    assert machine.deadline == inf
    machine.give_time("token", 1.0, timeout)
    ended: list[Any] = []
    now = 1.0
    while now <= early:
        ended += machine.handle_deadline(now)
        now = max(now + 0.1, min(machine.deadline, early + 1))
    assert not ended
    if late < inf:
        while not ended:
            assert machine.deadline <= late
            now = machine.deadline
            ended += machine.handle_deadline(now)
        assert ended[0][0] == "token"
        assert isinstance(ended[0][2], TimeoutError)
        assert now <= late


def test_time_is_given_once_and_to_calls_that_are_open_alone() -> None:
    machine = quiet()
    machine.ask("slow", [], "token")
    machine.send_request("other", [], "other", 1.0, 50.0)
    before = machine.deadline
    machine.give_time("unknown", 1.0, 2.0)
    machine.give_time("token", 1.0, 100.0)
    assert machine.deadline == before
    assert machine.calls.open == {1: "token", 2: "other"}


def test_the_default_time_needs_no_look_of_its_own_beside_another_call() -> None:
    machine = quiet()
    machine.ask("slow", [], "token")
    machine.send_request("other", [], "other", 1.0)
    before = machine.deadline
    machine.give_time("token", 1.0, DEFAULT)
    assert machine.deadline == before
    ended: list[Any] = []
    while len(ended) < 2:
        assert machine.deadline <= 36.0
        ended += machine.handle_deadline(machine.deadline)
    assert [event[0] for event in ended] == ["token", "other"]


def test_a_call_leaves_alone_too_where_none_times_out_by_itself() -> None:
    machine = quiet(call_timeout=None)
    assert machine.ask("slow", [], "token")
    machine.give_time("token", 1.0, DEFAULT)
    assert machine.deadline == inf


def test_another_dialect_goes_the_other_way() -> None:
    machine = fresh(protocol=JSONRPCv1)
    machine.start(0.0)
    with pytest.raises(LocalProtocolError):
        machine.send_request("first", {"a": 1}, "token", 0.0)
    machine.send_request("first", [], "token", 0.0)
    machine.data_to_send()
    machine.receive_data(b'{"result":1,"error":null,"id":0}\n', 0.5)
    assert not machine.is_smooth
    assert machine.ask("add", [1, 2], "token") is None


# --- a batch that nothing goes on beside -----------------------------------------------------------------------------


def batch_of(*asked: tuple[str, Any], first: int = 1) -> list[BatchMember]:
    """Return the members of a batch that was made when *first* was the id of the next call."""
    seal = [Outcomes(RPCRequestOut, id)]
    return [BatchMember(method, params, number, seal) for number, (method, params) in enumerate(asked, first)]


@pytest.mark.row("J10")
def test_a_batch_that_leaves_alone_is_as_any_other() -> None:
    short, long = quiet(), quiet()
    members = batch_of(("b", [1]), ("c\n", {"é": None}))
    assert long.send_batch([one.method for one in members], [one.args for one in members], members, 1.0) == range(1, 3)
    asked = short.ask_batch(members)
    assert asked == long.data_to_send()
    short.bytes_sent += len(asked or b"")  # as the driver does
    assert facts(short) == facts(long)
    for machine in (short, long):
        assert machine.calls.refused_batch() == [1, 2]
        assert machine.calls.was_issued(2)


BESIDE = ["first", "other open", "other since", "queued", "owed", "waiting", "closing", "a limit", "no lines", "paused"]
NOT_PLAIN = ["no batches", "a user's class", "only names", "an object", "a line break", "a long one", "many", "none"]
NOT_PLAIN += ["a member", "what looks like one"]


@pytest.mark.parametrize("case", [*BESIDE, *NOT_PLAIN])
@pytest.mark.row("J10", "S10")
def test_a_batch_goes_the_longer_way_where_anything_else_goes_on_or_it_is_not_plain(case: str) -> None:
    machine = new() if case == "first" else quiet(**({"max_calls": 1} if case == "many" else {}))
    batch = batch_of(("b", [1]), ("c", ()), first=0 if case == "first" else 1)
    match case:
        case "other open":
            machine.send_request("other", [], "token", 1.0)
            machine.data_to_send()
        case "queued":
            machine.send_notification("other", [])
        case "owed":
            (request,) = machine.receive_data(b'{"jsonrpc":"2.0","id":1,"method":"m"}\n', 1.0)
            assert isinstance(request, Request)
            machine.replies.append(Reply(1, request.id))
        case "waiting":
            machine.flow.senders_waiting += 1
        case "closing":
            machine.close()
        case "no batches":
            machine = quiet(protocol=protocol_for(replace(V2, batches=False)))
        case "a user's class":
            machine = quiet(protocol=Shouting)
        case "only names":
            machine = quiet(protocol=protocol_for(replace(V2, positional_params=False)))
        case "an object":
            batch = batch_of(("b", [object()]))
        case "a line break":
            batch = batch_of(("b", [Raw(b"[1,\n2]")]))
        case "a long one":
            batch = batch_of(("b", ["x" * 100_000]))
        case "a member":
            batch[1].args = ["of the same batch, not awaited", batch[0]]
        case "what looks like one":
            batch = batch_of(("b", [{"jsonrpc": "2.0", "method": "c"}]))
        case "none":
            batch = []
        case "a limit" | "no lines" | "paused":
            machine = busy()[case]
            batch = batch_of(("b", [1]), ("c", ()), first=machine.calls.next_id)
        case "other since":
            batch = batch_of(("b", [1]), first=0)
        case _:
            pass
    before = facts(machine)
    assert machine.ask_batch(batch) is None
    assert facts(machine) == before


@pytest.mark.row("J10", "S10")
def test_a_batch_that_takes_every_place_for_a_call_leaves_alone_too() -> None:
    machine = quiet(max_calls=2)
    members = batch_of(("b", [1]), ("c", ()))
    assert machine.ask_batch(members)
    assert machine.ask_batch(batch_of(("d", ()), first=3)) is None
    assert machine.calls.open == {1: members[0], 2: members[1]}


# --- what comes alone ------------------------------------------------------------------------------------------------


def accepted(protocol: type[JSONRPC] = JSONRPCv2, **limits: Any) -> LoneConnection:
    """Return a machine of a server that has been asked once, and has answered."""
    limits.setdefault("governance", UNGOVERNED)
    resolved = Limits(**limits).resolved(accepted=True)
    framed = framed_by(NewlineFramer, resolved)
    machine = LoneConnection(protocol, framed, resolved, accepted=True, longest_read=0.0)
    machine.start(0.0)
    (request,) = machine.receive_data(b'{"jsonrpc":"2.0","id":0,"method":"first"}\n', 0.5)
    assert isinstance(request, Request)
    machine.reply(request, "first")
    machine.data_to_send()
    assert machine.is_smooth
    return machine


def all_facts(machine: LoneConnection) -> dict[str, object]:
    requests = machine.requests
    return facts(machine) | {
        "asked": (requests.count, dict(requests.in_flight), requests.is_simple),
        "behind event": machine.has_read_behind_event,
    }


@pytest.mark.parametrize("params", ["[1,2]", '{"a":null}', '["text"]', "[]"])
@pytest.mark.parametrize("request_id", ["1", '"one"'])
@pytest.mark.parametrize("result", [3, 2.5, None, True, "text", [1, {"a": None}], {"b": "\n"}, "x" * 20_000])
def test_a_lone_request_is_read_and_answered_as_all_are(params: str, request_id: str, result: object) -> None:
    short, long = accepted(), accepted()
    data = f'{{"jsonrpc":"2.0","id":{request_id},"method":"m","params":{params}}}\n'.encode()
    for _ in range(2):
        (expected,) = long.receive_data(data, 2.0)
        request = short.receive_one(data, 2.0)
        assert request == expected
        assert all_facts(short) == all_facts(long)
        assert isinstance(expected, Request)
        long.reply(expected, result)
        answer = short.answer_one(request, result)
        assert answer is not None
        assert (answer or short.data_to_send()) == long.data_to_send()
        assert bool(answer) is (len(str(result)) < 16_000)
        assert all_facts(short) == all_facts(long)


def stranger() -> LoneConnection:
    """Return a machine of a server that nothing has come to yet."""
    resolved = Limits(governance=UNGOVERNED).resolved(accepted=True)
    machine = LoneConnection(JSONRPCv2, framed_by(NewlineFramer, resolved), resolved, accepted=True, longest_read=0.0)
    machine.start(0.0)
    return machine


@pytest.mark.parametrize("data", [b'{"jsonrpc":"2.0","id":0,"method":"m"}\n', b'{"jsonrpc":"2.0","method":"m"}\n'])
def test_what_a_stranger_says_first_is_read_as_all_is(data: bytes) -> None:
    short, long = stranger(), stranger()
    assert short.deadline < inf
    request = short.receive_first(data, 2.0)
    assert [request] == long.receive_data(data, 2.0)
    assert not short.is_stranger
    assert short.deadline == long.deadline == inf
    assert all_facts(short) == all_facts(long)


def test_what_a_stranger_is_answered_first_is_a_valid_message_as_well() -> None:
    machine = stranger()
    machine.ask("add", [1, 2], "token")
    assert machine.answer(FIRST, "token", 2.0) == "first"
    assert not machine.is_stranger
    assert machine.deadline == inf


@pytest.mark.parametrize("data", [b"\x16\x03\x01\n", b"GET / HTTP/1.1\r\n", b'{"jsonrpc":"2.0"', b"hello\n"])
def test_what_else_a_stranger_says_first_goes_the_other_way(data: bytes) -> None:
    machine = stranger()
    before = all_facts(machine)
    assert machine.receive_first(data, 2.0) is NOTHING
    assert all_facts(machine) == before
    machine.receive_data(data, 2.0)
    assert machine.is_stranger
    assert not machine.is_smooth
    if not data.startswith((b"{", b"hello")):
        assert "the peer speaks" in str(machine.close_reason)


def test_a_lone_notification_is_read_as_all_are_and_has_no_answer() -> None:
    short, long = accepted(), accepted()
    data = b'{"jsonrpc":"2.0","method":"m"}\n'
    note = short.receive_one(data, 2.0)
    assert [note] == long.receive_data(data, 2.0)
    assert short.answer_one(note, 3) is None
    assert all_facts(short) == all_facts(long)


@pytest.mark.parametrize("answer", [b"3", b"null", b'"text"', b"[[],{}]"])
@pytest.mark.parametrize("timeout", [DEFAULT, 5.0])
def test_a_lone_answer_is_read_as_all_are(answer: bytes, timeout: float | Default) -> None:
    short, long = quiet(), quiet()
    data = b'{"jsonrpc":"2.0","id":1,"result":%b}\n' % answer
    for machine in (short, long):
        machine.send_request("add", [1], "token", 1.0, timeout)
        machine.data_to_send()
    assert [short.receive_one(data, 2.0)] == long.receive_data(data, 2.0)
    assert all_facts(short) == all_facts(long)
    assert short.deadline == long.deadline


ODD_REQUESTS = {
    "a part": b'{"jsonrpc":"2.0","id":1,"method":"m"}',
    "two": b'{"jsonrpc":"2.0","id":1,"method":"m"}\n{"jsonrpc":"2.0","id":2,"method":"m"}\n',
    "one and a half": b'{"jsonrpc":"2.0","id":1,"method":"m"}\n{',
    "a batch": b'[{"jsonrpc":"2.0","id":1,"method":"m"}]\n',
    "an answer": ANSWER,
    "no version": b'{"id":1,"method":"m"}\n',
    "more members": b'{"jsonrpc":"2.0","id":1,"method":"m","more":1}\n',
    "id null": b'{"jsonrpc":"2.0","id":null,"method":"m"}\n',
    "id in flight": b'{"jsonrpc":"2.0","id":7,"method":"m"}\n',
    "no JSON": b"hello\n",
    "a blank line": b"\n",
    "deep": b'{"jsonrpc":"2.0","id":1,"method":"m","params":' + b"[" * 200 + b"]" * 200 + b"}\n",
    "long": b'{"jsonrpc":"2.0","id":1,"method":"m","params":["%b"]}\n' % (b"x" * 300),
    "nothing": b"",
}


@pytest.mark.parametrize("name", sorted(ODD_REQUESTS))
def test_what_is_no_lone_request_changes_nothing(name: str) -> None:
    machine = accepted()
    machine.receive_data(b'{"jsonrpc":"2.0","id":7,"method":"m"}\n', 1.0)
    before = all_facts(machine)
    assert machine.receive_one(ODD_REQUESTS[name], 2.0) is NOTHING
    assert all_facts(machine) == before


@pytest.mark.parametrize("name", sorted(set(ODD) - {"two lines"}))
def test_what_is_no_lone_answer_changes_nothing(name: str) -> None:
    machine = quiet()
    machine.ask("add", [1, 2], "token")
    before = all_facts(machine)
    assert machine.receive_one(ODD[name], 2.0) is NOTHING
    assert all_facts(machine) == before


def test_nothing_is_read_the_short_way_while_more_has_to_be_done_for_it() -> None:
    data = b'{"jsonrpc":"2.0","id":1,"method":"m"}\n'
    machines = {name: accepted() for name in ("not smooth", "in a message", "a look is due", "no lines")}
    machines["not smooth"].charge(1.0)
    machines["in a message"].receive_data(b"{", 1.0)
    machines["a look is due"]._look_received = machines["a look is due"].bytes_received + len(data) - 1
    other = Limits(governance=UNGOVERNED).resolved(accepted=True)
    framed = framed_by(ContentLengthFramer, other)
    machines["no lines"] = LoneConnection(JSONRPCv2, framed, other, accepted=True, longest_read=0.0)
    machines["in a message of a server"] = quiet()
    machines["in a message of a server"].receive_data(b" ", 1.0)
    for name, machine in machines.items():
        before = all_facts(machine)
        assert machine.receive_one(data, 2.0) is NOTHING, name
        assert all_facts(machine) == before


@pytest.mark.parametrize("excess", [-1, 0, 1, 2])
def test_what_is_longer_than_a_message_may_be_is_not_read_the_short_ways(excess: int) -> None:
    call, answer = (
        one[:-2].ljust(79 + excess) + one[-2:] for one in (b'{"jsonrpc":"2.0","id":1,"method":"m"}\n', ANSWER)
    )
    asked, asking = accepted(max_message=80), quiet(max_message=80)
    asking.ask("add", [1], "token")
    assert (asked.receive_one(call, 2.0) is NOTHING) is (excess > 0)
    assert (asking.answer(answer, "token", 2.0) is NOTHING) is (excess > 0)


def test_the_last_place_is_taken_as_by_any_other_request() -> None:
    short, long = accepted(max_pending=2), accepted(max_pending=2)
    for number in (1, 2):
        data = b'{"jsonrpc":"2.0","id":%d,"method":"m"}\n' % number
        assert [short.receive_one(data, 2.0)] == long.receive_data(data, 2.0)
        assert all_facts(short) == all_facts(long)
    assert not short.is_smooth


def test_an_answer_that_has_to_go_the_longer_way_changes_nothing() -> None:
    data = b'{"jsonrpc":"2.0","id":1,"method":"m"}\n'
    results = {
        "left out": UNSET,
        "no JSON": object(),
        "two lines": Raw(b"[\n]"),
        "too deep": Raw(b"[" * 10_001 + b"]" * 10_001),
        "over the limit": "x" * 100,
    }
    for name in (*results, "closing", "paused", "output", "written by a user's class"):
        protocol = Shouting if name == "written by a user's class" else JSONRPCv2
        machine = accepted(protocol, max_response=100 if name == "over the limit" else 1 << 20)
        request = machine.receive_one(data, 2.0)
        if name == "closing":
            machine.close()
        elif name == "paused":
            machine.writing_paused(100_000, 2.0)
        elif name == "output":
            machine.send_notification("note", [])
        before = all_facts(machine)
        assert machine.answer_one(request, results.get(name, 3)) is None, name
        assert all_facts(machine) == before
        machine.reply(request, results.get(name, 3))
        assert machine.requests.count == 0, name
        assert machine.data_to_send().count(b'"id":1') == 1, name


# --- a batch that comes alone ----------------------------------------------------------------------------------------

MOST = 3000  # bytes of a message
TWO_CALLS = b'[{"jsonrpc":"2.0","id":8,"method":"m"},{"jsonrpc":"2.0","id":"9","method":"m","params":[1]}]\n'
BATCHES = {
    "two calls": TWO_CALLS,
    "a call and a notification": b'[{"jsonrpc":"2.0","id":8,"method":"m"},{"jsonrpc":"2.0","method":"m"}]\n',
    "notifications": b'[{"jsonrpc":"2.0","method":"m"},{"jsonrpc":"2.0","method":"m"}]\n',
    "one id twice": b'[{"jsonrpc":"2.0","id":8,"method":"m"},{"jsonrpc":"2.0","id":8,"method":"m"}]\n',
    "a member that is none": b'[{"jsonrpc":"2.0","id":8,"method":"m"},7]\n',
    "none": b"[]\n",
    "no JSON": b"[{\n",
    "answers": b'[{"jsonrpc":"2.0","id":2,"result":2},{"jsonrpc":"2.0","id":1,"result":1}]\n',
    "one answer": b'[{"jsonrpc":"2.0","id":2,"result":2}]\n',
    "answers to what is not open": b'[{"jsonrpc":"2.0","id":2,"result":2},{"jsonrpc":"2.0","id":7,"result":1}]\n',
    "many calls": b"[" + b",".join(b'{"jsonrpc":"2.0","id":%d,"method":"m"}' % one for one in range(10, 50)) + b"]\n",
    "no newline": TWO_CALLS[:-1],
    "two batches": TWO_CALLS + TWO_CALLS.replace(b"8", b"6").replace(b"9", b"7"),
    "two lines": TWO_CALLS.replace(b",", b",\n", 1),
    "a carriage return": TWO_CALLS[:-1] + b"\r\n",
    "as long as a message may be": TWO_CALLS[:-2].ljust(MOST - 1) + b"]\n",
    "longer than a message may be": TWO_CALLS[:-2].ljust(MOST) + b"]\n",
}
# What a machine is in when it comes, and its limits then.
STATES: dict[str, dict[str, Any]] = {
    "at rest": {},
    "asked before": {},
    "in a message": {},
    "first of all": {},
    "closing": {},
    "a look is due": {"governance": Governance(bw_cost_per_byte=1.0, cost_soft_limit=300.0, cost_hard_limit=600.0)},
    "little room": {"max_pending": 1},
    "small batches": {"max_batch": 2},
    "smaller batches": {"max_batch": 1},
}


def in_state(name: str, *, is_accepted: bool) -> LoneConnection:
    """Return a machine in one of `STATES`; it waits for two answers, where it has been heard from."""
    limits = {"max_message": MOST, **STATES[name]}
    if name == "first of all":
        return fresh(**limits) if not is_accepted else stranger()
    machine = accepted(**limits) if is_accepted else quiet(**limits)
    for token in "ab" if not is_accepted else "xab":  # 1 and 2: those who have not asked before ask 0 first
        machine.send_request("m", [], token, 0.5)
    machine.data_to_send()
    if name == "asked before":
        machine.receive_data(b'{"jsonrpc":"2.0","id":5,"method":"m"}\n', 0.5)
    elif name == "in a message":
        machine.receive_data(b" ", 0.5)
    elif name == "closing":
        machine.close()
    elif name == "a look is due":
        machine._look_received = machine.bytes_received + len(TWO_CALLS) - 1
    return machine


@pytest.mark.row("J10", "J11")
@pytest.mark.parametrize("is_accepted", [False, True])
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("name", BATCHES)
def test_a_batch_that_comes_alone_is_read_as_any_other(name: str, state: str, is_accepted: bool) -> None:
    short, long = in_state(state, is_accepted=is_accepted), in_state(state, is_accepted=is_accepted)
    events = [*short.receive_data(BATCHES[name], 2.0)]
    assert list(map(repr, events)) == list(map(repr, Connection.receive_data(long, BATCHES[name], 2.0)))
    assert all_facts(short) == all_facts(long)
    assert short.deadline == long.deadline
    assert short.data_to_send() == long.data_to_send()


def test_machines_of_other_messages_have_no_short_way() -> None:
    limits = Limits().resolved(accepted=True)
    machine = MessageConnection(NewlineFramer(max_size=100), limits, accepted=True)
    assert machine.receive_one(b"hello\n", 1.0) is NOTHING
    assert not machine.messages_received
