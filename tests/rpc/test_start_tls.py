# SPDX-License-Identifier: MIT
"""TLS that starts on an open connection: both sides, what must not come between, and every way to fail."""

from __future__ import annotations

import json
import logging
import socket
import ssl
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests import aio
from tests.certificates import Certificates
from tests.rpc.sessions import turns, until
from tieline import (
    TCP,
    TLS,
    ClientSession,
    ClosedError,
    Command,
    ConnectionLost,
    Limits,
    LocalProtocolError,
    Methods,
    RemoteProtocolError,
    ReplyAndStartTLS,
    RPCError,
    Server,
    ServerSession,
    connect,
    serve,
)
from tieline.runtimes.asyncio.host import AsyncioHost
from tieline.testing import MemoryNetwork

BUSY = -102
CHILD = """
import asyncio
import sys

import tieline

methods = tieline.Methods()


@methods.method
def start() -> None:
    raise tieline.ReplyAndStartTLS("go ahead", tieline.TLS(certificate=sys.argv[1]))


@methods.method
def is_safe(session: tieline.ServerSession) -> bool:
    return session.get_extra_info("ssl_object") is not None


asyncio.run(tieline.serve(methods, "stdio:").serve_forever())
"""


class Calls(Methods):
    """What the server offers, and what it has been asked."""

    def __init__(self, certificates: Certificates) -> None:
        super().__init__()
        self.tls: Any = TLS(certificate=certificates.server)
        self.asked: list[object] = []
        self.go_on = aio.Event()

        @self.method
        def start(result: object = "go ahead") -> None:
            raise ReplyAndStartTLS(result, self.tls)

        @self.method
        def start_with_what_json_cannot_carry() -> None:
            raise ReplyAndStartTLS(object(), self.tls)

        @self.method
        async def start_walking() -> None:
            raise ReplyAndStartTLS("go ahead", self.tls)

        @self.method
        async def start_later() -> None:
            await self.go_on.wait()
            raise ReplyAndStartTLS("go ahead", self.tls)

        @self.method
        def echo(value: object) -> object:
            self.asked.append(value)
            return value

        @self.method
        async def wait() -> str:
            await self.go_on.wait()
            return "waited"

        @self.method
        def is_safe(session: ServerSession) -> bool:
            return session.get_extra_info("ssl_object") is not None

        @self.method
        async def ask_back(session: ServerSession) -> object:
            return await session.call("echo", "back")


def port_of(server: Server) -> int:
    (endpoint,) = server.get_addresses()
    assert isinstance(endpoint, TCP)
    return endpoint.port


def line(number: int | None, method: str, *params: object) -> bytes:
    message = {"jsonrpc": "2.0", "method": method, "params": params}
    return json.dumps(message if number is None else message | {"id": number}).encode() + b"\n"


@asynccontextmanager
async def bare(server: Server) -> AsyncGenerator[socket.socket]:
    """Give a plain connection to the server, made of a bare socket."""
    sock = socket.create_connection(("127.0.0.1", port_of(server)))
    sock.setblocking(False)
    with sock:
        yield sock


async def received(sock: socket.socket, size: int = 65536) -> bytes:
    return await aio.sock_recv(sock, size)


async def rest(sock: socket.socket) -> bytes:
    """Return what comes up to the end of the stream."""
    found = b""
    try:
        while data := await received(sock):
            found += data
    except ConnectionResetError:
        pass
    return found


# --- it works --------------------------------------------------------------------------------------------------------


@pytest.mark.row("D6")
@pytest.mark.parametrize("how", ["start", "start_later"])
@pytest.mark.parametrize("kind", ["value", "context"])
async def test_a_session_goes_on_inside_tls(certificates: Certificates, how: str, kind: str) -> None:
    calls = Calls(certificates)
    if kind == "context":
        calls.tls = calls.tls.server_context()
    calls.go_on.set()
    ours = Methods()

    @ours.method
    def echo(value: object) -> object:
        return value

    tls = TLS(ca=certificates.ca)
    async with serve(calls, "tcp://127.0.0.1:0") as server, connect(server.url, ours) as session:
        assert await session.call("is_safe") is False
        assert await session.call(how) == "go ahead"
        await session.start_tls(tls if kind == "value" else tls.client_context())
        assert await session.call("is_safe") is True
        assert await session.call("echo", "x" * 500_000) == "x" * 500_000
        assert await session.call("ask_back") == "back"
        shown = session.peer_certificate()
        assert shown is not None
        assert ("DNS", "localhost") in shown["subjectAltName"]
        with pytest.raises(LocalProtocolError, match="TLS is spoken already"):
            await session.start_tls(tls)
        with pytest.raises(RPCError, match=r"TLS is spoken already \(code -102\)"):
            await aio.gather(session.call("start"), session.call("echo", 1))
        assert await session.call("echo", 1) == 1
        (peer,) = server.sessions
    assert session.close_reason is None
    await until(lambda: peer.close_reason is not None)


@pytest.mark.row("D6")
async def test_it_starts_on_connections_without_a_socket(certificates: Certificates) -> None:
    """Those in memory, and the pipes of a child."""
    tls = TLS(ca=certificates.ca, server_hostname="localhost")
    network = MemoryNetwork()
    async with network.serve(Calls(certificates)) as server, connect(server.url, proxy=network) as session:
        await session.call("start")
        await session.start_tls(tls)
        assert await session.call("is_safe") is True
    async with connect(Command([sys.executable, "-c", CHILD, str(certificates.server)], grace=10)) as session:
        await session.call("start")
        await session.start_tls(tls)
        assert await session.call("is_safe") is True


@pytest.mark.row("D6")
async def test_it_does_not_start_within_a_websocket(certificates: Certificates) -> None:
    async with serve(Calls(certificates), "ws://127.0.0.1:0") as server, connect(server.url) as session:
        with pytest.raises(RPCError, match=r"cannot start within a WebSocket.* \(code -102\)"):
            await session.call("start")
        with pytest.raises(LocalProtocolError, match="cannot start within a WebSocket"):
            await session.start_tls(TLS(ca=certificates.ca))
        assert await session.call("echo", 1) == 1


@pytest.mark.row("D6")
async def test_what_is_sent_during_the_handshake_waits_for_it(certificates: Certificates) -> None:
    async with serve(Calls(certificates), "tcp://127.0.0.1:0") as server, connect(server.url) as session:
        await session.call("start")
        starting = aio.ensure_future(session.start_tls(TLS(ca=certificates.ca)))
        await until(lambda: not session.has_room())
        request = session.send_request("is_safe")  # does not ask for room
        calls = [aio.ensure_future(session.call("is_safe")) for _ in range(3)]
        await starting
        assert await request is True
        assert await aio.gather(*calls) == [True] * 3


@pytest.mark.row("D6")
async def test_a_server_may_ask_for_tls_as_its_client(certificates: Certificates) -> None:
    ours = Methods()

    @ours.method
    def start() -> None:
        raise ReplyAndStartTLS(None, TLS(certificate=certificates.server))

    @ours.method
    def echo(value: object) -> object:
        return value

    async with serve(Methods(), "tcp://127.0.0.1:0") as server, connect(server.url, ours):
        await until(lambda: server.sessions)
        (peer,) = server.sessions
        assert await peer.call("start") is None
        with pytest.raises(ValueError, match="server_hostname"):
            await peer.start_tls(TLS(ca=certificates.ca))
        await peer.start_tls(TLS(ca=certificates.ca), server_hostname="localhost")
        assert await peer.call("echo", 5) == 5


# --- nothing else may be under way -----------------------------------------------------------------------------------


@pytest.mark.row("D6")
async def test_tls_starts_only_when_nothing_else_is_under_way(certificates: Certificates) -> None:
    calls = Calls(certificates)
    async with serve(calls, "tcp://127.0.0.1:0") as server, connect(server.url) as session:
        waiting = aio.ensure_future(session.call("wait"))
        await until(lambda: session.stats.pending)
        with pytest.raises(RPCError, match=r"nothing is under way.*1 running") as caught:
            await session.call("start")
        assert caught.value.code == BUSY
        with pytest.raises(LocalProtocolError, match="1 calls in flight, 0 running"):
            await session.start_tls(TLS(ca=certificates.ca))
        calls.go_on.set()
        assert await waiting == "waited"
        async with session.batch() as batch:
            batch.add_request("start")
            batch.add_request("echo", [1])
        assert isinstance(batch.results[0], RPCError)
        assert batch.results[0].message == "TLS cannot start within a batch"
        assert await session.call("echo", 1) == 1


@pytest.mark.row("D6")
async def test_settings_are_checked_before_anything_happens(certificates: Certificates) -> None:
    async with serve(Calls(certificates), "tcp://127.0.0.1:0") as server, connect(server.url) as session:
        for bad, error in ((None, ValueError), (False, ValueError), (5, TypeError)):
            with pytest.raises(error):
                await session.start_tls(bad)  # type: ignore[arg-type]  # wrong on purpose
        with pytest.raises(ValueError, match="twice"):
            await session.start_tls(TLS(server_hostname="a"), server_hostname="b")
        with pytest.raises(FileNotFoundError):
            await session.start_tls(TLS(ca="missing.pem"))
        assert await session.call("echo", 1) == 1
    for bad, error in ((None, ValueError), (5, TypeError)):
        with pytest.raises(error):
            ReplyAndStartTLS(1, bad)  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(TypeError):
        ReplyAndStartTLS(RPCError(1, "no"), True)
    with pytest.raises(LocalProtocolError, match="not connected"):
        await connect("tcp://127.0.0.1:1").start_tls(True)
    with pytest.raises(ClosedError):
        await session.start_tls(TLS(ca=certificates.ca))


@pytest.mark.row("D6", "H59")
async def test_a_server_that_cannot_says_so_and_goes_on(
    certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    calls = Calls(certificates)
    async with serve(calls, "tcp://127.0.0.1:0") as server, connect(server.url) as session:
        for tls, told in ((TLS(), "needs a certificate"), (TLS(certificate="missing.pem"), "missing.pem")):
            calls.tls = tls
            caplog.clear()
            with pytest.raises(RPCError, match="internal error"):
                await session.call("start")
            (peer,) = server.sessions
            peer.failure_log._next.clear()
            assert told in caplog.text
        calls.tls = TLS(certificate=certificates.server)
        with pytest.raises(RPCError, match="internal error"):
            await session.call("start_with_what_json_cannot_carry")
        await session.notify("start")
        assert await session.call("echo", 1) == 1


# --- injection -------------------------------------------------------------------------------------------------------

BEHIND = [
    line(2, "echo", "injected"),
    line(None, "echo", "injected"),
    b'{"jsonrpc":"2.0","id":2,"meth',
    b"\x16\x03\x01",
    line(2, "echo", "injected") + line(3, "echo", "injected"),
    b"junk\n",
    b"{}\n",
    b"[]\n",
    b'{"jsonrpc":"2.0","id":77,"result":1}\n',
    b'[{"jsonrpc":"2.0","id":5}]\n',
]


@pytest.mark.row("D6", "H17")
@pytest.mark.parametrize("behind", BEHIND)
@pytest.mark.parametrize("how", ["start", "start_walking", "start_later"])
async def test_what_comes_behind_the_request_ends_the_connection(
    certificates: Certificates, caplog: pytest.LogCaptureFixture, how: str, behind: bytes
) -> None:
    caplog.set_level(logging.WARNING)
    calls = Calls(certificates)
    if how != "start_later":
        calls.go_on.set()
    async with serve(calls, "tcp://127.0.0.1:0") as server:
        async with bare(server) as sock:
            sock.sendall(line(1, how) + behind)
            await until(lambda: server.sessions)
            (peer,) = server.sessions
            await turns(5)
            calls.go_on.set()
            said = (await rest(sock)).splitlines()
        await peer.wait_closed()
    assert isinstance(peer.close_reason, RemoteProtocolError)
    assert "plain text" in str(peer.close_reason)
    last = json.loads(said[-1])
    assert (last["id"], last["error"]["code"]) == (None, -32600)
    assert b"go ahead" not in b"".join(said)
    if how == "start" or (how == "start_walking" and AsyncioHost.starts_eagerly and not aio.on_trio()):
        assert calls.asked == []  # not even looked at
    assert len([record for record in caplog.records if "broke the protocol" in record.message]) == 1


@pytest.mark.row("D6")
@pytest.mark.parametrize("behind", [b"plain text\n", line(2, "echo", 1), bytes(500)])
async def test_plain_text_in_place_of_the_handshake_ends_the_connection(
    certificates: Certificates, behind: bytes
) -> None:
    calls = Calls(certificates)
    async with serve(calls, "tcp://127.0.0.1:0") as server:
        async with bare(server) as sock:
            sock.sendall(line(1, "start"))
            answer = await received(sock)
            assert json.loads(answer)["result"] == "go ahead"
            (peer,) = server.sessions
            sock.sendall(behind)
            await rest(sock)
        await peer.wait_closed()
    assert calls.asked == []
    assert isinstance(peer.close_reason, ConnectionLost)
    assert isinstance(peer.close_reason.__cause__, ssl.SSLError)


@pytest.mark.row("D6")
@pytest.mark.parametrize("behind", [b'{"jsonrpc":', line(None, "injected"), line(5, "injected"), b"junk\n"])
async def test_what_comes_behind_the_answer_ends_the_session(certificates: Certificates, behind: bytes) -> None:
    async def accept(reader: aio.StreamReader, writer: aio.StreamWriter) -> None:
        asked = json.loads(await reader.readline())
        writer.write(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": True}).encode() + b"\n" + behind)
        await reader.read()
        writer.close()

    listener = await aio.start_server(accept, "127.0.0.1", 0)
    async with ClientSession("127.0.0.1", listener.sockets[0].getsockname()[1]) as session:
        assert await session.call("start")
        with pytest.raises(RemoteProtocolError, match="plain text behind"):
            await session.start_tls(TLS(ca=certificates.ca))
        await session.wait_closed()
        assert isinstance(session.close_reason, RemoteProtocolError)
    listener.close()
    await listener.wait_closed()


# --- handshakes that fail --------------------------------------------------------------------------------------------


@pytest.mark.row("D6", "H69")
async def test_a_server_that_is_not_trusted_ends_the_session(certificates: Certificates) -> None:
    async with serve(Calls(certificates), "tcp://127.0.0.1:0") as server, connect(server.url) as session:
        await session.call("start")
        (peer,) = server.sessions
        with pytest.raises(ssl.SSLCertVerificationError, match=f"cannot start TLS with {server.url}: .*elsewhere"):
            await session.start_tls(TLS(ca=certificates.ca), server_hostname="elsewhere.example")
        await session.wait_closed()
        assert isinstance(session.close_reason, ConnectionLost)
        assert isinstance(session.close_reason.__cause__, ssl.SSLCertVerificationError)
        with pytest.raises(ConnectionLost):
            await session.call("echo", "secret")
        with pytest.raises(ConnectionLost):
            await session.start_tls(TLS(ca=certificates.ca))
        await peer.wait_closed()
        assert "alert" in str(peer.close_reason)


@pytest.mark.row("D6", "H68")
async def test_a_handshake_that_never_comes_is_cut_in_time(certificates: Certificates) -> None:
    limits = Limits(handshake_timeout=0.05)
    async with serve(Calls(certificates), "tcp://127.0.0.1:0", limits=limits) as server, bare(server) as sock:
        sock.sendall(line(1, "start"))
        assert await received(sock)
        (peer,) = server.sessions
        assert await rest(sock) == b""
        await peer.wait_closed()
        assert isinstance(peer.close_reason, ConnectionLost)
        assert "no TLS handshake within 0.05 s" in str(peer.close_reason)


@pytest.mark.row("D6", "H60", "H61")
@pytest.mark.parametrize("how", ["cancel", "aclose", "abort", "timeout"])
async def test_a_client_that_gives_up_the_handshake_has_lost_the_connection(
    certificates: Certificates, how: str
) -> None:
    async def accept(reader: aio.StreamReader, writer: aio.StreamWriter) -> None:
        asked = json.loads(await reader.readline())
        writer.write(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": True}).encode() + b"\n")
        await reader.read()  # and no word of TLS
        writer.close()

    listener = await aio.start_server(accept, "127.0.0.1", 0)
    limits = Limits(handshake_timeout=0.05 if how == "timeout" else 10)
    session = ClientSession("127.0.0.1", listener.sockets[0].getsockname()[1], limits=limits)
    await session.create_connection(nursery=aio.nursery())
    await session.call("start")
    starting = aio.ensure_future(session.start_tls(TLS(ca=certificates.ca)))
    await turns(3)
    call = aio.ensure_future(session.call("secret"))
    await turns(3)
    if how == "cancel":
        starting.cancel()
    elif how == "aclose":
        await session.aclose()
    elif how == "abort":
        session.abort()
    kinds = {"cancel": aio.CancelledError, "timeout": TimeoutError, "aclose": ClosedError, "abort": ClosedError}
    with pytest.raises(kinds[how]):
        await starting
    with pytest.raises(ConnectionLost if how == "timeout" else ClosedError):
        await call
    await session.wait_closed()
    listener.close()
    await listener.wait_closed()
