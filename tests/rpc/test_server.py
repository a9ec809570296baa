# SPDX-License-Identifier: MIT
"""Servers in the ancestor's style and by `serve`: listening, their sessions, and the end."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests import aio
from tests.certificates import Certificates
from tests.rpc.sessions import TCP_URL, raw_client, turns, until
from tieline import (
    TCP,
    TLS,
    ConnectionLost,
    JSONRPCv1,
    Limits,
    LocalProtocolError,
    Methods,
    NewlineFramer,
    Server,
    ServerSession,
    SessionBase,
    UnixStream,
    connect,
    serve,
)

METHODS = Methods()


@METHODS.method
def add(a: int, b: int) -> int:
    return a + b


class TabFramer(NewlineFramer):
    """Messages end with a NUL byte."""

    def frame(self, messages: Iterable[bytes | bytearray | memoryview]) -> bytes:
        return b"".join(bytes(message) + b"\0" for message in messages)

    def messages(self, data: bytes) -> Iterator[bytes]:
        return super().messages(data.replace(b"\0", b"\n"))


class Upper(aio.Protocol):
    """A protocol that is none of ours."""

    transport: Any

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data.upper())
        self.transport.close()


# --- S2: the ancestor's style ----------------------------------------------------------------------------------------


@pytest.mark.row("S2")
async def test_a_server_listens_and_closes_and_leaves_its_sessions_alone():
    loop = aio.running_loop()
    server = Server(lambda: ServerSession(methods=METHODS), "127.0.0.1", 0, loop=loop)
    before: object = (server.loop, server.host, server.port, server.server)
    assert before == (loop, "127.0.0.1", 0, None)
    server.close()  # nothing when not listening
    await server.wait_closed()
    listening = await server.listen(nursery=aio.nursery())
    now: object = server.server
    assert now is listening
    port = listening.sockets[0].getsockname()[1]
    async with connect(f"tcp://127.0.0.1:{port}") as client:
        assert await client.call("add", 1, 2) == 3
        waiting = aio.create_task(server.wait_closed())
        await turns()
        assert not waiting.done()
        server.close()
        now = server.server
        assert now is None
        await waiting
        await server.wait_closed()
        with pytest.raises(ConnectionRefusedError):
            await connect(f"tcp://127.0.0.1:{port}").create_connection(nursery=aio.nursery())
        assert await client.call("add", 2, 3) == 5  # it lives on
        assert len(server.sessions) == 1
        server.close()
    await until(lambda: not server.sessions)


@pytest.mark.row("S2")
async def test_a_server_may_listen_again_once_it_is_closed():
    server = Server(ServerSession, "127.0.0.1", 0)
    await server.listen(nursery=aio.nursery())
    with pytest.raises(LocalProtocolError, match="listening already"):
        await server.listen(nursery=aio.nursery())
    server.close()
    await server.listen(nursery=aio.nursery())
    async with connect(server.url):
        await until(lambda: server.sessions)
    await server.shutdown()


@pytest.mark.row("S2")
async def test_to_enter_a_server_that_listens_is_refused_and_it_goes_on():
    async with serve(METHODS, TCP_URL) as server, connect(server.url) as client:
        with pytest.raises(LocalProtocolError, match="listening already"):
            async with server:
                raise AssertionError
        assert server.is_serving()
        assert await client.call("add", 1, 2) == 3
        async with connect(server.url) as another:
            assert await another.call("add", 2, 3) == 5


@pytest.mark.row("S2")
async def test_the_factory_may_return_any_protocol():
    async with Server(Upper, "127.0.0.1", 0) as server, raw_client(server) as peer:
        peer.writer.write(b"hello")
        assert await peer.reader.read() == b"HELLO"
        assert not server.sessions  # which holds sessions only


@pytest.mark.row("S2")
async def test_the_factory_is_called_once_a_connection_and_may_be_any_callable():
    made: list[SessionBase] = []

    class Factory:
        def __call__(self) -> SessionBase:
            made.append(ServerSession(methods=METHODS))
            return made[-1]

    async with Server(Factory(), "127.0.0.1", 0) as server, connect(server.url) as one, connect(server.url) as two:
        assert await one.call("add", 1, 1) == await two.call("add", 1, 1) == 2
        assert server.sessions == set(made)
        for session in made:
            assert isinstance(session, ServerSession)
            assert session.server is server
    assert len(made) == 2


class OwnError(BaseException):
    pass


FAILURES: dict[str, type[BaseException]] = {
    "raises": LookupError,
    "raises one of its own": OwnError,
    "raises CancelledError": aio.CancelledError,
    "raises GeneratorExit": GeneratorExit,
}


@pytest.mark.row("S2", "S6", "H58")
@pytest.mark.parametrize("how", [*FAILURES, "used", "foreign"])
async def test_a_factory_that_fails_costs_its_connection_only(how: str, caplog: pytest.LogCaptureFixture):
    used = ServerSession()
    aio.make_link(lambda: used.new_link(accepted=True))
    calls = 0

    def factory() -> Any:
        nonlocal calls
        calls += 1
        if calls > 1:
            return ServerSession(methods=METHODS)
        if how in FAILURES:
            raise FAILURES[how]
        return used if how == "used" else object()

    async with Server(factory, "127.0.0.1", 0) as server:
        async with raw_client(server) as peer:
            peer.send({"jsonrpc": "2.0", "method": "add", "params": [1, 2]})
            assert await peer.ended()
        async with connect(server.url) as client:
            assert await client.call("add", 1, 1) == 2
    (record,) = caplog.records
    assert record.getMessage() == "a connection could not be served"
    assert record.exc_info is not None


@pytest.mark.row("S2", "S6", "H58")
@pytest.mark.parametrize("scheme", ["tls", "ws", "wss"])
async def test_so_does_one_below_tls_and_websockets(
    scheme: str, certificates: Certificates, caplog: pytest.LogCaptureFixture
):
    if "ws" in scheme:
        pytest.importorskip("websockets")

    def factory() -> Any:
        raise OwnError

    is_plain = scheme == "ws"
    async with serve(
        factory, f"{scheme}://127.0.0.1:0", tls=None if is_plain else TLS(certificate=certificates.server)
    ) as server:
        for _ in range(2):
            with pytest.raises((ConnectionLost, OSError)):
                async with connect(server.url, tls=None if is_plain else TLS(ca=certificates.ca)) as client:
                    await client.call("add", 1, 1, timeout=10)
    assert [record.getMessage() for record in caplog.records] == ["a connection could not be served"] * 2


@pytest.mark.row("S2")
async def test_several_hosts_and_a_given_socket():
    async with Server(lambda: ServerSession(methods=METHODS), ["127.0.0.1", "::1"], 0) as server:
        addresses = server.get_addresses()
        assert [address.host for address in addresses if isinstance(address, TCP)] == ["127.0.0.1", "::1"]
        for address in addresses:
            async with connect(address) as client:
                assert await client.call("add", 1, 1) == 2
    sock = socket.create_server(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    async with Server(lambda: ServerSession(methods=METHODS), sock=sock) as server:
        assert (server.host, server.port) == (None, None)
        assert server.url == f"tcp://127.0.0.1:{port}"
        async with connect(server.url) as client:
            assert await client.call("add", 1, 1) == 2
    assert sock.fileno() == -1
    with pytest.raises(LocalProtocolError, match="has been used"):
        async with server:
            pass
    await server.serve_forever()  # which returns at once: a socket that is gone makes nothing begin


@pytest.mark.row("S2")
async def test_further_settings_go_to_the_listener():
    async with Server(ServerSession, "127.0.0.1", 0, family=socket.AF_INET, backlog=7, reuse_port=True) as server:
        sock = server.server.sockets[0]  # type: ignore[union-attr]  # it is there
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) == 1
        assert server.endpoint == TCP("127.0.0.1", 0, family=socket.AF_INET, backlog=7, reuse_port=True)


WRONG: dict[str, Callable[[], object]] = {
    "a session for a factory": lambda: Server(ServerSession(), "h", 1),  # type: ignore[arg-type]  # wrong on purpose
    "no port": lambda: Server(ServerSession, "localhost"),
    "nothing": lambda: Server(ServerSession),
    "socket and host": lambda: Server(ServerSession, "h", 1, sock=object()),  # type: ignore[arg-type]  # wrong on purpose
    "settings and endpoint": lambda: Server(ServerSession, TCP("h", 1), backlog=7),
    "unknown setting": lambda: Server(ServerSession, "h", 1, no_such=1),
    "settings and factory": lambda: serve(lambda: ServerSession(), TCP_URL, limits=Limits()),  # noqa: PLW0108  # the lambda is meant
    "no url": lambda: serve(METHODS, "localhost:1"),
    "no scheme of ours": lambda: serve(METHODS, "http://localhost:1"),
    "nothing to serve": lambda: serve(None, TCP_URL),  # type: ignore[call-overload]  # wrong on purpose
    "framer instance": lambda: serve(METHODS, TCP_URL, framer=NewlineFramer()),  # type: ignore[call-overload]  # wrong on purpose
    "framer of another kind": lambda: serve(METHODS, TCP_URL, framer=int),  # type: ignore[arg-type]  # wrong on purpose
}


@pytest.mark.row("S2", "S3", "F8")
@pytest.mark.parametrize("case", WRONG)
def test_impossible_arguments_are_refused_at_once(case: str):
    with pytest.raises((TypeError, ValueError)):
        WRONG[case]()


@pytest.mark.row("F8", "S3")
async def test_a_framer_instance_is_refused_with_what_to_pass_instead_and_classes_keep_clients_apart():
    with pytest.raises(TypeError, match="pass the class NewlineFramer"):
        serve(METHODS, TCP_URL, framer=NewlineFramer())  # type: ignore[call-overload]  # wrong on purpose
    for framer in (TabFramer, partial(TabFramer, max_size=1000)):
        async with (
            serve(METHODS, TCP_URL, framer=framer) as server,
            raw_client(server) as one,
            raw_client(server) as two,
        ):
            for peer in (one, two):
                peer.writer.write(b'{"jsonrpc":"2.0","id":1,')
            both = server.sessions
            await until(lambda both=both: [session.stats.bytes_in for session in both] == [24, 24])  # type: ignore[misc]  # a lambda with a default
            for number, peer in enumerate((one, two)):
                peer.writer.write(b'"method":"add","params":[%d,1]}\0' % number)
                assert await peer.reader.readuntil(b"\0") == b'{"jsonrpc":"2.0","result":%d,"id":1}\0' % (number + 1)


@pytest.mark.row("F8")
async def test_a_framer_factory_that_gives_the_same_framer_twice_is_refused_before_clients_mix():
    shared = NewlineFramer()
    server = serve(METHODS, TCP_URL, framer=lambda: shared)  # which has taken it once, to look at it
    async with server, raw_client(server) as peer:
        assert await peer.ended()


# --- S3: serve -------------------------------------------------------------------------------------------------------


class Own(ServerSession):
    async def handle_request(self, request: Any) -> object:
        return [request.method, self.limits.max_batch, self.protocol.__name__]


@pytest.mark.row("S3")
async def test_serve_takes_methods_a_session_class_or_a_factory(tmp_path: Path):
    limits = Limits(max_batch=3)
    served: list[tuple[Any, dict[str, Any], object]] = [
        (METHODS, {}, None),
        (METHODS, {"limits": limits, "rpc_protocol": JSONRPCv1}, None),
        (Own, {}, ["x", 1000, "JSONRPCv2"]),
        (Own, {"limits": limits, "rpc_protocol": JSONRPCv1}, ["x", 3, "JSONRPCv1"]),
        (lambda: Own(limits=limits), {}, ["x", 3, "JSONRPCv2"]),
    ]
    for url in (TCP_URL, f"unix://{tmp_path}/s"):
        for what, settings, expected in served:
            protocol = settings.get("rpc_protocol")
            async with serve(what, url, **settings) as server, connect(server.url, rpc_protocol=protocol) as client:
                if expected is None:
                    assert await client.call("add", 1, 2) == 3
                else:
                    assert await client.call("x") == expected
    async with serve(Upper, TCP_URL) as server, raw_client(server) as peer:
        peer.writer.write(b"x")
        assert await peer.reader.read() == b"X"


@pytest.mark.row("S3")
async def test_url_and_addresses_are_those_it_really_listens_on(tmp_path: Path):
    server = serve(METHODS, TCP_URL)
    assert server.get_addresses() == ()
    with pytest.raises(LocalProtocolError, match="not listening"):
        _ = server.url
    async with server:
        (address,) = server.get_addresses()
        assert isinstance(address, TCP)
        assert address.port != 0
        assert server.url == f"tcp://127.0.0.1:{address.port}"
    assert server.get_addresses() == ()
    async with serve(METHODS, UnixStream(tmp_path / "s")) as unix:
        assert unix.url == f"unix://{tmp_path}/s"
        assert unix.get_addresses() == (UnixStream(str(tmp_path / "s")),)


@pytest.mark.row("S3")
async def test_serve_forever_returns_when_the_server_is_closed_and_survives_cancellation():
    for end in ("close", "shutdown"):
        server = serve(METHODS, TCP_URL)
        forever = [aio.create_task(server.serve_forever())]
        await turns(20)
        assert server.server is not None
        forever.append(aio.create_task(server.serve_forever()))
        cancelled = aio.create_task(server.serve_forever())
        await turns()
        cancelled.cancel()
        with pytest.raises(aio.Cancelled):
            await cancelled
        assert len(server._closed_waiters) == 2
        async with connect(server.url) as client:
            assert await client.call("add", 1, 1) == 2
        assert not any(task.done() for task in forever)
        if end == "close":
            server.close()
        else:
            await server.shutdown()
        await aio.gather(*forever)


@pytest.mark.row("S2", "H55")
async def test_a_server_that_was_closed_before_it_listened_does_not_serve_for_ever() -> None:
    for close in ("close", "shutdown"):
        server = serve(Methods(), TCP_URL)
        if close == "close":
            server.close()
        else:
            await server.shutdown()
        async with aio.timeout(5):
            await server.serve_forever()
        assert server.server is None


@pytest.mark.row("S2", "H55")
async def test_serving_for_ever_ends_when_the_server_is_closed_while_it_begins_to_listen() -> None:
    server = serve(Methods(), "tcp://localhost:0")  # a name: the look-up takes a turn at least
    serving = aio.create_task(server.serve_forever())
    await aio.sleep(0)
    await server.shutdown()
    async with aio.timeout(5):
        await serving
    assert server.server is None
