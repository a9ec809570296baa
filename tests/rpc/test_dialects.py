# SPDX-License-Identifier: MIT
"""Sessions that speak the dialect of a known protocol: its framing, its echo, and requests that the peer takes back."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from typing import Any

import pytest

from tests import aio
from tests.rpc.sessions import Pair, pair, raw_client, raw_server, turns, until
from tieline import (
    ClientSession,
    ContentLengthFramer,
    JSONRPCv2,
    Limits,
    Methods,
    NewlineFramer,
    RPCError,
    RPCRequest,
    ServerSession,
    connect,
    dialects,
    serve,
)
from tieline import blocking as tieline_blocking
from tieline.dialects import Dialect

CANCELLING = [dialects.lsp, dialects.mcp]


class Work:
    """Methods that tell what becomes of them."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.release = aio.Event()
        self.methods = Methods()
        for function in (self.wait, self.stubborn, self.add, self.fails):
            self.methods.method(function)

    async def wait(self) -> str:
        self.told.append("begun")
        try:
            await aio.Event().wait()
        except aio.Cancelled:
            self.told.append("cancelled")
            raise
        return "never"

    async def stubborn(self) -> str:
        self.told.append("begun")
        try:
            await aio.Event().wait()
        except aio.Cancelled:
            self.told.append("goes on")
        return "all the same"

    async def fails(self) -> str:
        self.told.append("begun")
        try:
            await aio.Event().wait()
        finally:
            raise RPCError(7, "broken off")

    def add(self, a: int, b: int) -> int:
        return a + b


def take_back(both: Pair, dialect: Dialect, request_id: object) -> None:
    rule = dialect.cancel
    assert rule is not None
    both.client.send_notification(rule.method, {rule.id_name: request_id} if rule.id_name else [request_id])


async def sum_of(session: Any, a: int, b: int) -> object:
    """Have *session* call `add`, in the way that all dialects have."""
    positional = session.protocol.dialect.positional_params
    return await (session.call("add", a, b) if positional else session.call("add", a=a, b=b))


async def answer_to(both: Pair, request: Any) -> object:
    """Return what *request* ends with, once all before it is answered; "nothing" while it waits still."""
    assert await sum_of(both.client, 1, 2) == 3
    await turns()
    if not request.done():
        request.cancel()
        return "nothing"
    return request.exception() or request.result()


# --- what is spoken --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dialect",
    [
        dialects.lsp, dialects.mcp, dialects.acp, dialects.electrum, dialects.ethereum, dialects.bitcoin,
        dialects.ovsdb, dialects.aria2, dialects.strict_v1, dialects.strict_v2, dialects.loose, dialects.auto,
        dialects.devtools,
    ],
    ids=lambda dialect: dialect.name,
)  # fmt: skip
async def test_both_sides_call_in_every_dialect(dialect: Dialect) -> None:
    work = Work()
    async with pair(work.methods, client_methods=work.methods, dialect=dialect) as both:
        assert await sum_of(both.client, 1, 2) == 3
        assert await sum_of(both.peer, 3, 4) == 7
        with pytest.raises(RPCError):
            await both.client.call("unknown")


async def test_one_side_may_name_framer_and_protocol_instead() -> None:
    work = Work()
    async with (
        serve(work.methods, "tcp://127.0.0.1:0", dialect=dialects.lsp) as server,
        connect(server.url, framer=ContentLengthFramer) as session,
    ):
        assert await session.call("add", 1, 2) == 3


async def test_a_framer_that_is_given_goes_before_that_of_the_dialect() -> None:
    work = Work()
    async with (
        serve(work.methods, "tcp://127.0.0.1:0", dialect=dialects.lsp, framer=NewlineFramer) as server,
        connect(server.url) as session,
    ):
        assert await session.call("add", 1, 2) == 3


@pytest.mark.parametrize("url", ["tcp://h:1", "ws://h:1/"])
def test_a_dialect_and_a_protocol_class_exclude_each_other(url: str) -> None:
    for make in (connect, ClientSession, tieline_blocking.connect):
        with pytest.raises(TypeError, match="dialect excludes rpc_protocol"):
            make(url, rpc_protocol=JSONRPCv2, dialect=dialects.lsp)
    with pytest.raises(TypeError, match="dialect excludes rpc_protocol"):
        serve(Methods(), url, rpc_protocol=JSONRPCv2, dialect=dialects.lsp)


@pytest.mark.parametrize("name", [name for name in dialects.__all__ if name.islower()])
async def test_a_dialect_may_be_given_by_its_name(name: str) -> None:
    async with pair(Work().methods, client_methods=Work().methods, dialect=name) as both:
        assert both.client.protocol.dialect == both.peer.protocol.dialect == getattr(dialects, name)
        assert await sum_of(both.client, 1, 2) == 3


@pytest.mark.parametrize(
    ("wrong", "kind", "text"),
    [
        ("LSP", ValueError, "unknown dialect 'LSP': it must be one of acp, .*, lsp, "),
        ("", ValueError, "unknown dialect ''"),
        (JSONRPCv2, TypeError, "must be a Dialect or the name of one, not type"),
        (b"lsp", TypeError, "not bytes"),
    ],
)
def test_what_is_no_dialect_is_refused_at_once(wrong: Any, kind: type[Exception], text: str) -> None:
    url = "tcp://127.0.0.1:1"
    for make in (connect, ClientSession, tieline_blocking.connect):
        with pytest.raises(kind, match=text):
            make(url, dialect=wrong)
    for serving in (serve, tieline_blocking.serve):
        with pytest.raises(kind, match=text):
            serving(Methods(), url, dialect=wrong)


async def test_over_websocket_the_dialects_framing_is_left_out() -> None:
    work = Work()
    async with (
        serve(work.methods, "ws://127.0.0.1:0/", dialect=dialects.lsp) as server,
        connect(server.url, dialect=dialects.lsp) as session,
    ):
        assert await session.call("add", 1, 2) == 3


async def test_an_echo_is_answered_unless_somebody_else_does() -> None:
    own = Methods()

    @own.method
    def echo(*values: object) -> str:
        return "own"

    for methods, expected in ((Methods(), [1, "a"]), (own, "own")):
        async with pair(methods, dialect=dialects.ovsdb) as both:
            assert await both.client.call("echo", 1, "a") == expected
            assert await both.peer.call("echo") == []


async def test_a_ping_is_answered_unless_somebody_else_does() -> None:
    own = Methods()

    @own.method
    def ping(**_: object) -> dict[str, object]:
        return {"by": "own"}

    for methods, expected in ((Methods(), {}), (own, {"by": "own"})):
        async with pair(methods, dialect=dialects.mcp) as both:
            assert await both.client.call("ping") == expected
            assert await both.client.call("ping", _meta={"progressToken": 1}) == expected
            assert await both.peer.call("ping") == {}


async def test_who_wants_to_see_all_requests_sees_those_of_the_dialect_too() -> None:
    class SeesAll(ServerSession):
        async def handle_request(self, request: RPCRequest) -> object:
            return f"saw {request.method}"

    async with (
        serve(SeesAll, "tcp://127.0.0.1:0", dialect=dialects.mcp) as server,
        connect(server.url, dialect=dialects.mcp) as client,
    ):
        assert await client.call("ping") == "saw ping"


# --- requests that the peer takes back -------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", CANCELLING, ids=lambda dialect: dialect.name)
async def test_a_request_that_runs_is_cancelled_and_answered_as_the_dialect_says(dialect: Dialect) -> None:
    work = Work()
    async with pair(work.methods, dialect=dialect) as both:
        request = both.client.send_request("wait")
        await until(lambda: work.told == ["begun"])
        take_back(both, dialect, request.request_id)
        await until(lambda: work.told == ["begun", "cancelled"])
        answer = await answer_to(both, request)
        if dialect is dialects.lsp:
            assert isinstance(answer, RPCError)
            assert (answer.code, answer.message) == (-32800, "request cancelled")
        else:
            assert answer == "nothing"
        assert both.peer.stats.running == 0


@pytest.mark.parametrize("dialect", CANCELLING, ids=lambda dialect: dialect.name)
@pytest.mark.parametrize(("method", "expected"), [("stubborn", "all the same"), ("fails", "broken off")])
async def test_what_a_cancelled_handler_comes_to_is_its_answer_where_there_is_one(
    dialect: Dialect, method: str, expected: str
) -> None:
    work = Work()
    async with pair(work.methods, dialect=dialect) as both:
        request = both.client.send_request(method)
        await until(lambda: work.told == ["begun"])
        take_back(both, dialect, request.request_id)
        await until(lambda: not both.peer.stats.running)
        answer = await answer_to(both, request)
        assert expected in str(answer) if dialect is dialects.lsp else answer == "nothing"


@pytest.mark.parametrize("dialect", CANCELLING, ids=lambda dialect: dialect.name)
async def test_a_request_that_is_taken_back_in_the_same_read_is_never_started(dialect: Dialect) -> None:
    work = Work()
    async with pair(work.methods, dialect=dialect) as both:
        request = both.client.send_request("wait")
        take_back(both, dialect, request.request_id)
        other = both.client.send_request("add", {"a": 2, "b": 3})
        assert await other == 5
        answer = await answer_to(both, request)
        assert (
            (isinstance(answer, RPCError) and answer.code == -32800) if dialect is dialects.lsp else answer == "nothing"
        )
        assert work.told == []


async def test_several_requests_that_are_taken_back_in_one_read_are_never_started() -> None:
    work = Work()
    async with serve(work.methods, "tcp://127.0.0.1:0", dialect=dialects.mcp) as server, raw_client(server) as peer:
        asked = [{"jsonrpc": "2.0", "id": number, "method": "wait"} for number in range(3)]
        back = [
            {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": number}}
            for number in range(3)
        ]
        add = {"jsonrpc": "2.0", "id": 3, "method": "add", "params": {"a": 2, "b": 3}}
        peer.send("\n".join(json.dumps(message) for message in [*asked, *back, add]).encode())
        assert (await peer.line())["id"] == 3
        assert work.told == []


@pytest.mark.parametrize("max_pending", [1, 2])
async def test_ovsdb_names_the_request_by_its_place(max_pending: int) -> None:
    """RFC 7047, section 4.1.4; the second request waits for its turn, or is taken back in the read that brought it."""
    work = Work()
    async with pair(work.methods, dialect=dialects.ovsdb, limits=Limits(max_pending=max_pending)) as both:
        running = both.client.send_request("wait")
        await until(lambda: work.told == ["begun"])
        queued = both.client.send_request("wait")
        take_back(both, dialects.ovsdb, queued.request_id)
        take_back(both, dialects.ovsdb, running.request_id)
        for request in (running, queued):
            with pytest.raises(RPCError, match="request cancelled") as caught:
                await request
            assert caught.value.code == -100
        assert work.told == ["begun", "cancelled"]
        for wrong in ([], [1, 2], [None], [[3]], [running.request_id]):
            both.client.send_notification("cancel", wrong)
        assert await sum_of(both.client, 1, 2) == 3
        assert both.peer.stats.errors == 0


@pytest.mark.row("S10")
@pytest.mark.parametrize("dialect", CANCELLING, ids=lambda dialect: dialect.name)
async def test_requests_are_taken_back_while_as_many_are_open_as_there_may_be(dialect: Dialect) -> None:
    work = Work()
    async with pair(work.methods, dialect=dialect, limits=Limits(max_pending=4)) as both:
        running = [both.client.send_request("wait") for _ in range(4)]
        await until(lambda: work.told == ["begun"] * 4)
        queued = [both.client.send_request("wait") for _ in range(3)]
        await turns()
        take_back(both, dialect, queued[1].request_id)
        take_back(both, dialect, running[2].request_id)
        # Its handler makes room for the first of those that wait, and the second is never begun.
        await until(lambda: work.told == ["begun"] * 4 + ["cancelled", "begun"])
        take_back(both, dialect, running[0].request_id)
        await until(lambda: work.told == ["begun"] * 4 + ["cancelled", "begun"] * 2)
        assert both.peer.stats.running == 4
        for request in (running[1], running[3], queued[0], queued[2]):
            take_back(both, dialect, request.request_id)
        await until(lambda: not both.peer.stats.running)
        assert work.told.count("begun") == work.told.count("cancelled") == 6
        assert await sum_of(both.client, 1, 2) == 3
        for request in [*running, *queued]:
            answer = request.exception() if request.done() else "nothing"
            assert isinstance(answer, RPCError) if dialect is dialects.lsp else answer == "nothing"
            request.cancel()
        assert both.client.stats.errors == both.peer.stats.errors == 0


async def test_leaving_a_scope_or_passing_a_deadline_takes_the_call_back() -> None:
    work = Work()
    async with pair(work.methods, dialect=dialects.lsp) as both:
        task = aio.create_task(both.client.call("wait"))
        await until(lambda: work.told == ["begun"])
        task.cancel()
        await until(lambda: work.told == ["begun", "cancelled"])
        with pytest.raises(TimeoutError):
            await both.client.call("wait", timeout=0.01)
        await until(lambda: work.told == ["begun", "cancelled"] * 2)
        assert await both.client.call("add", 1, 2) == 3
        assert both.client.stats.pending == 0


async def test_an_initialize_of_mcp_is_given_up_in_silence() -> None:
    async with raw_server(dialect=dialects.mcp) as (client, peer):
        client.send_request("initialize", {}).cancel()
        client.send_request("tools/list").cancel()
        client.send_notification("last", {})
        told = [await peer.line() for _ in range(4)]
        assert [one["method"] for one in told] == ["initialize", "tools/list", "notifications/cancelled", "last"]
        assert told[2]["params"] == {"requestId": told[1]["id"]}


@pytest.mark.parametrize("wanted", [99, "0", None, [1], {"a": 1}, 0.0, True])
async def test_taking_back_what_there_is_not_harms_nobody(wanted: object) -> None:
    work = Work()
    async with pair(work.methods, dialect=dialects.lsp) as both:
        request = both.client.send_request("wait")
        await until(lambda: work.told == ["begun"])
        take_back(both, dialects.lsp, wanted)
        both.client.send_notification("$/cancelRequest")
        both.client.send_notification("$/cancelRequest", [request.request_id])
        assert await answer_to(both, request) == "nothing"


async def test_taking_back_twice_is_as_once() -> None:
    work = Work()
    async with pair(work.methods, dialect=dialects.lsp) as both:
        request = both.client.send_request("stubborn")
        await until(lambda: work.told == ["begun"])
        for _ in range(3):
            take_back(both, dialects.lsp, request.request_id)
        assert await request == "all the same"
        assert await answer_to(both, request) == "all the same"


async def test_who_cleans_up_is_not_cancelled_again() -> None:
    work = Work()

    @work.methods.method
    async def tidy() -> str:
        work.told.append("begun")
        try:
            await aio.Event().wait()
        except aio.Cancelled:
            work.told.append("tidies")
        return "tidied"

    async with pair(work.methods, dialect=dialects.lsp) as both:
        request = both.client.send_request("tidy")
        await until(lambda: work.told)
        for _ in range(5):
            take_back(both, dialects.lsp, request.request_id)
        assert await request == "tidied"
        assert work.told == ["begun", "tidies"]


@pytest.mark.parametrize("dialect", CANCELLING, ids=lambda dialect: dialect.name)
async def test_others_are_answered_while_a_handler_that_was_cancelled_is_yet_to_end(dialect: Dialect) -> None:
    work = Work()
    async with pair(work.methods, dialect=dialect) as both:
        request = both.client.send_request("wait")
        await until(lambda: work.told == ["begun"])
        take_back(both, dialect, request.request_id)
        # It comes in the same read, before any task has had its turn.
        assert await aio.wait_for(sum_of(both.client, 1, 2), 60) == 3
        request.cancel()


async def test_handlers_that_were_cancelled_before_they_began_are_not_waited_for() -> None:
    work = Work()
    async with pair(work.methods, dialect=dialects.lsp) as both:
        for _ in range(50):
            both.client.send_request("wait").cancel()
        assert await both.client.call("add", 1, 2) == 3
        await until(lambda: not both.peer.stats.running)
        engine: Any = both.peer._engine
        assert engine.handling.unstarted == 0


async def test_a_method_of_that_name_is_called_instead() -> None:
    work = Work()
    heard: list[object] = []

    @work.methods.method(name="$/cancelRequest")
    def cancel(id: object) -> None:
        heard.append(id)

    async with pair(work.methods, dialect=dialects.lsp) as both:
        request = both.client.send_request("wait")
        take_back(both, dialects.lsp, request.request_id)
        await until(lambda: heard)
        assert work.told == ["begun"]
        request.cancel()
        await until(lambda: len(heard) == 2)


async def test_a_dialect_of_ones_own_has_a_word_of_its_own() -> None:
    mine = replace(dialects.strict_v2, name="mine", cancel=dialects.CancelRule(method="stop", id_name="which", code=-1))
    work = Work()
    async with pair(work.methods, dialect=mine) as both:
        request = both.client.send_request("wait")
        await until(lambda: work.told)
        take_back(both, mine, request.request_id)
        with pytest.raises(RPCError, match="request cancelled") as caught:
            await request
        assert caught.value.code == -1


async def test_requests_in_a_batch_may_be_taken_back_one_by_one() -> None:
    mine = replace(dialects.strict_v2, name="mine", cancel=dialects.CancelRule(method="stop", code=-1))
    silent = replace(mine, cancel=dialects.CancelRule(method="stop"))
    for dialect, results in ((mine, 2), (silent, 1)):
        work = Work()
        async with pair(work.methods, dialect=dialect) as both:
            batch = both.client.new_batch()
            kept, gone = batch.add_request("add", [1, 2]), batch.add_request("wait")
            both.client.send_batch(batch)
            await until(lambda work=work: work.told)  # type: ignore[misc]  # bound now
            take_back(both, dialect, gone.request_id)
            assert await kept == 3
            await turns(20)
            assert [kept.done(), gone.done()].count(True) == results
            gone.cancel()


# --- in blocking code ------------------------------------------------------------------------------------------------


async def test_blocking_code_answers_an_echo_and_takes_back_what_has_not_begun() -> None:
    ran: list[str] = []
    methods = Methods()
    begun, release = threading.Event(), threading.Event()

    @methods.method
    def block() -> None:
        begun.set()
        assert release.wait(10)

    @methods.method
    def late() -> str:
        ran.append("late")
        return "ran"

    class Asking(ServerSession):
        pass

    async with serve(Asking, "tcp://127.0.0.1:0", dialect=dialects.lsp) as server:

        def use() -> None:
            with tieline_blocking.connect(server.url, methods, dialect=dialects.lsp) as session:
                session.wait_closed()

        task = aio.create_task(aio.to_thread(use))
        await until(lambda: server.sessions)
        (peer,) = server.sessions
        assert isinstance(peer, ServerSession)
        blocked = peer.send_request("block")
        await until(begun.is_set)
        request = peer.send_request("late")
        peer.send_notification("$/cancelRequest", {"id": request.request_id})
        await turns()
        release.set()
        await blocked
        with pytest.raises(RPCError, match="request cancelled"):
            await request
        assert await peer.call("late") == "ran"
        assert ran == ["late"]
        await peer.aclose()
        await task
