# SPDX-License-Identifier: MIT
"""Client sessions in the ancestor's style and by `connect`: what they are given, and what they do with it."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import aio
from tests.rpc.sessions import TCP_URL, turns, until
from tieline import (
    TCP,
    ClientSession,
    EndOfStream,
    FramerBase,
    JSONRPCLoose,
    JSONRPCv1,
    JSONRPCv2,
    Limits,
    LocalProtocolError,
    Methods,
    NewlineFramer,
    Server,
    ServerSession,
    SessionBase,
    StdlibCodec,
    UnixStream,
    connect,
    serve,
)

METHODS = Methods()


@METHODS.method
def add(a: int, b: int) -> int:
    return a + b


@METHODS.method
async def twice(session: SessionBase, method: str, n: int) -> Any:
    return await session.call(method, await session.call(method, n))


class BangFramer(FramerBase):
    """Messages end with an exclamation mark; JSON's own are escaped."""

    made = 0

    def __init__(self) -> None:
        type(self).made += 1
        self._rest = b""

    def frame(self, messages: Iterable[bytes | bytearray | memoryview]) -> bytes:
        return b"".join(bytes(message).replace(b"!", b"\\u0021") + b"!" for message in messages)

    def messages(self, data: bytes) -> Iterator[bytes]:
        *whole, self._rest = (self._rest + data).split(b"!")
        yield from whole


# --- S1: the ancestor's style ----------------------------------------------------------------------------------------


@pytest.mark.row("S1", "S2")
async def test_create_connection_gives_transport_and_protocol():
    server = Server(lambda: ServerSession(methods=METHODS), "127.0.0.1", 0)
    listening = await server.listen(nursery=aio.nursery())
    port = listening.sockets[0].getsockname()[1]
    client = ClientSession("127.0.0.1", port)
    assert client.stats.started is None
    transport, protocol = await client.create_connection(nursery=aio.nursery())
    assert protocol is client
    assert transport.get_extra_info("peername") == ("127.0.0.1", port)
    assert await client.call("add", 1, 2) == 3
    await client.aclose()
    assert transport.is_closing()
    server.close()
    await server.wait_closed()


@pytest.mark.row("S1")
async def test_a_server_session_is_a_session_base_and_so_is_a_client_session():
    assert issubclass(ServerSession, SessionBase)
    assert issubclass(ClientSession, SessionBase)


@pytest.mark.row("S1")
async def test_the_constructor_does_no_io_and_needs_no_loop():
    made = await aio.to_thread(ClientSession, "no.such.host.invalid", 1)
    assert repr(made) == "<ClientSession tcp://no.such.host.invalid:1 not connected>"
    assert made.is_closing()
    assert made.remote_address() is None
    with pytest.raises(LocalProtocolError, match="not connected"):
        await made.call("x")
    for order in (made.send_request, made.send_notification):
        with pytest.raises(LocalProtocolError, match="not connected"):
            order("x")
    with pytest.raises(LocalProtocolError, match="not connected"):
        _ = made.closed_event


@pytest.mark.row("S1")
async def test_defaults_are_methods_that_subclasses_override():
    class Own(ClientSession):
        def default_rpc_protocol(self) -> type[JSONRPCLoose]:
            return JSONRPCLoose

        def default_framer(self) -> FramerBase:
            limits.append(self.limits.max_message)
            return BangFramer()

    limits: list[object] = []
    plain = ClientSession("h", 1)
    assert plain.default_rpc_protocol() is JSONRPCv2
    assert plain.protocol is JSONRPCv2
    own = Own("h", 1)
    assert own.protocol is JSONRPCLoose
    async with serve(METHODS, TCP_URL, framer=BangFramer) as server, connect(server.url, session_factory=Own) as client:
        assert await client.call("add", 2, 3) == 5
    assert limits == [64 << 20]  # resolved for a connection that was dialled


@pytest.mark.row("S1", "F3")
async def test_the_default_framer_is_a_new_newline_framer_under_the_session_s_limit():
    session = ServerSession(limits=Limits(max_message=1234))
    first, second = session.default_framer(), session.default_framer()
    assert first is not second
    assert isinstance(first, NewlineFramer)
    assert first.max_size == 1234
    unlimited = ServerSession(limits=Limits(max_message=None)).default_framer()
    assert isinstance(unlimited, NewlineFramer)
    assert unlimited.max_size == 0


@pytest.mark.row("S1")
async def test_protocol_and_framer_given_win_over_the_defaults():
    async with serve(METHODS, TCP_URL, framer=BangFramer, rpc_protocol=JSONRPCv1) as server:
        endpoint = server.get_addresses()[0]
        assert isinstance(endpoint, TCP)
        before = BangFramer.made

        def make() -> FramerBase:
            return BangFramer()

        for framer in (BangFramer, BangFramer(), make):  # an instance is fine for one connection
            client = ClientSession("127.0.0.1", endpoint.port, rpc_protocol=JSONRPCv1, framer=framer)
            async with client:
                assert client.protocol is JSONRPCv1
                assert await client.call("add", 2, 3) == 5
        assert BangFramer.made == before + 6  # each of the server's sessions had one of its own


@pytest.mark.row("S1")
async def test_loggers_are_one_per_class_unless_named():
    class Own(ServerSession):
        logger = logging.getLogger("mine")

    assert ServerSession.logger is None
    assert Own().log is Own.logger
    assert ServerSession().log is ServerSession().log
    assert ServerSession().log.name == "tieline.ServerSession"
    assert ClientSession("h", 1).log.name == "tieline.ClientSession"


@pytest.mark.row("S1")
async def test_scheduler_stays_none_and_loop_is_the_running_one():
    loop = aio.running_loop()
    with pytest.raises(TypeError, match="scheduler"):
        ClientSession("h", 1, scheduler="slow")  # type: ignore[arg-type]  # wrong on purpose
    async with serve(METHODS, TCP_URL) as server:
        async with ClientSession(server.url, scheduler=None, loop=loop) as client:
            assert await client.call("add", 1, 1) == 2
        other = aio.new_event_loop()
        try:
            with pytest.raises(ValueError, match="loop must be None"):
                await ClientSession(server.url, loop=other).create_connection(nursery=aio.nursery())
        finally:
            other.close()


@pytest.mark.row("S1")
async def test_connection_lost_is_called_once_and_before_the_closed_event_is_set():
    told: list[tuple[bool, object]] = []

    class Own(ClientSession):
        async def connection_lost(self) -> None:
            await aio.sleep(0)
            told.append((self.closed_event.is_set(), self.close_reason))

    async with serve(METHODS, TCP_URL) as server:
        client = connect(server.url, session_factory=Own)
        await client.create_connection(nursery=aio.nursery())
        event = client.closed_event
        waiting = aio.create_task(event.wait())
        also = aio.create_task(client.wait_closed())
        await until(lambda: server.sessions)
        for session in server.sessions:
            session.close()
        await waiting
        await also
        assert len(told) == 1
        assert told[0][0] is False
        assert isinstance(told[0][1], EndOfStream)
        await client.aclose()
    assert len(told) == 1


@pytest.mark.row("S1")
async def test_both_sides_can_call_each_other_on_one_connection():
    client_methods = Methods()

    @client_methods.method
    def double(n: int) -> int:
        return 2 * n

    @client_methods.method
    async def through(session: ClientSession, n: int) -> Any:
        return await session.call("add", n, 1)

    async with serve(METHODS, TCP_URL) as server, connect(server.url, client_methods) as client:
        assert await client.call("twice", "double", 5) == 20
        assert await client.call("twice", "through", 5) == 7
        (peer,) = server.sessions
        assert await peer.call("double", 21) == 42


@pytest.mark.row("S1")
async def test_further_settings_go_to_the_connection():
    async with serve(METHODS, TCP_URL) as server:
        endpoint = server.get_addresses()[0]
        assert isinstance(endpoint, TCP)
        settings: dict[str, Any] = {
            "family": socket.AF_INET,
            "flags": socket.AI_NUMERICHOST,
            "local_addr": ("127.0.0.1", 0),
            "happy_eyeballs_delay": 0.1,
        }
        async with ClientSession("127.0.0.1", endpoint.port, **settings) as client:
            assert await client.call("add", 1, 1) == 2
            assert client.endpoint == TCP("127.0.0.1", endpoint.port, **settings)
    with pytest.raises(TypeError):
        ClientSession("127.0.0.1", 1, no_such_setting=1)


@pytest.mark.row("S1")
async def test_a_connected_socket_may_be_given():
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.setblocking(False)
        client = ClientSession(sock=ours)
        async with client:
            call = aio.create_task(client.call("x"))
            await turns()
            assert theirs.recv(1000).startswith(b'{"jsonrpc":"2.0"')
            theirs.send(b'{"jsonrpc":"2.0","id":0,"result":7}\n')
            assert await call == 7
            assert client.endpoint is None
            assert client.remote_address() is None
        assert ours.fileno() == -1


WRONG: dict[str, Callable[[], object]] = {
    "nothing": ClientSession,
    "socket and host": lambda: ClientSession("h", 1, sock=object()),  # type: ignore[arg-type]  # wrong on purpose
    "port and endpoint": lambda: ClientSession(TCP("h", 1), 2),
    "settings and endpoint": lambda: ClientSession(TCP("h", 1), family=socket.AF_INET),
    "no url": lambda: connect("h:1"),
    "protocol instance": lambda: ClientSession("h", 1, rpc_protocol=JSONRPCv2()),  # type: ignore[arg-type]  # wrong on purpose
    "another class": lambda: ClientSession("h", 1, rpc_protocol=int),  # type: ignore[arg-type]  # wrong on purpose
    "methods": lambda: connect("tcp://h:1", {"add": add}),  # type: ignore[call-overload]  # wrong on purpose
}


@pytest.mark.row("S1", "S3")
@pytest.mark.parametrize("case", WRONG)
def test_impossible_arguments_are_refused_at_once(case: str):
    with pytest.raises((TypeError, ValueError)):
        WRONG[case]()


@pytest.mark.row("S1")
async def test_a_session_serves_one_connection():
    async with serve(METHODS, TCP_URL) as server:
        client = connect(server.url)
        async with client:
            with pytest.raises(LocalProtocolError, match="one connection"):
                await client.create_connection(nursery=aio.nursery())
            assert await client.call("add", 1, 1) == 2
        with pytest.raises(LocalProtocolError, match="one connection"):
            await client.create_connection(nursery=aio.nursery())


@pytest.mark.row("S1", "S3")
async def test_nobody_there_is_told_and_the_session_may_try_again():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        client = connect(f"tcp://127.0.0.1:{port}")
        for _ in range(2):
            with pytest.raises(ConnectionRefusedError):
                await client.create_connection(nursery=aio.nursery())
    async with serve(METHODS, f"tcp://127.0.0.1:{port}"):
        await client.create_connection(nursery=aio.nursery())
        assert await client.call("add", 1, 1) == 2
        await client.aclose()


# --- S3: connect -----------------------------------------------------------------------------------------------------


@pytest.mark.row("S3")
async def test_connect_takes_urls_and_endpoints_of_every_kind(tmp_path: Path):
    path = tmp_path / "s"
    async with serve(METHODS, TCP_URL) as tcp, serve(METHODS, f"unix://{path}") as unix:
        port = tcp.get_addresses()[0].port  # type: ignore[union-attr]  # it is there
        for target in (tcp.url, TCP("localhost", port), f"tcp://localhost:{port}", unix.url, UnixStream(path)):
            async with connect(target) as client:
                assert await client.call("add", 40, 2) == 42


@pytest.mark.row("S3")
async def test_connect_hands_on_all_that_it_is_given():
    given: dict[str, Any] = {}

    class Own(ClientSession):
        def __init__(self, endpoint: Any, **settings: Any) -> None:
            given.update(settings, endpoint=endpoint)
            super().__init__(endpoint, **settings)

    limits, codec, proxy, methods = Limits(max_calls=7), StdlibCodec(), "socks5://h:2", Methods()
    session = connect(
        "tcp://h:1", methods, rpc_protocol=JSONRPCv1, framer=BangFramer, limits=limits, proxy=proxy, codec=codec,
        connect_timeout=3.0, session_factory=Own,
    )  # fmt: skip
    assert isinstance(session, Own)
    assert given == {
        "endpoint": TCP("h", 1), "methods": methods, "rpc_protocol": JSONRPCv1, "framer": BangFramer,
        "limits": limits, "proxy": proxy, "codec": codec,
    }  # fmt: skip
    assert session.connect_timeout == 3.0
    assert connect("tcp://h:1").connect_timeout == 10.0
    given.clear()
    connect("tcp://h:1", session_factory=Own)
    assert given == {"endpoint": TCP("h", 1)}  # what was not given is left to the class


@pytest.mark.row("S3")
async def test_connecting_ends_at_its_timeout(tmp_path: Path):
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as filler:
        listener.bind(str(tmp_path / "s"))
        listener.listen(0)
        filler.connect(str(tmp_path / "s"))
        with pytest.raises(TimeoutError):
            await connect(UnixStream(tmp_path / "s"), connect_timeout=0.02).create_connection(nursery=aio.nursery())


@pytest.mark.row("S3", "S7")
async def test_the_body_s_own_error_comes_out_of_the_context():
    async with serve(METHODS, TCP_URL) as server:
        with pytest.raises(LookupError):
            async with connect(server.url) as client:
                raise LookupError
        assert client.is_closing()
