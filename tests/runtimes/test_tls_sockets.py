# SPDX-License-Identifier: MIT
"""TLS on real sockets, against Python's own ssl module: blocking in a thread, and as asyncio and trio have it."""

from __future__ import annotations

import gc
import random
import socket
import ssl
import struct
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast

import pytest
import trio

from tests import aio
from tests.certificates import Certificates
from tests.loops import TrioRuntime
from tests.promptness import prompt
from tests.rpc.sessions import turns, until
from tests.runtimes.sockets import open_sockets, settled, stop
from tests.runtimes.tls_scene import Upper, client_context, opened, server_context
from tieline import TCP, TLS, ClosedError, ConnectionLost, connect
from tieline.errors import TLSTruncated
from tieline.runtimes.asyncio.host import FULL_READ, current_host
from tieline.runtimes.asyncio.tls_layers import BufferedTLSLayer, PlainTLSLayer, layer_class
from tieline.runtimes.tls.layer import TLSLayer, secured
from tieline.runtimes.trio.host import host_of

MEGABYTE = random.Random(0).randbytes(1 << 20)
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


class Talker(aio.Protocol):
    """Sends *words* at once; done when *size* bytes have come, and lost with the reason."""

    def __init__(self, words: bytes = b"", size: int = 0) -> None:
        self.words, self.size = words, size
        self.data = bytearray()
        self.ended = False
        self.transport: Any = None
        self.done: aio.Future = aio.Future()
        self.lost: aio.Future = aio.Future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        if self.words:
            self.transport.write(self.words)

    def data_received(self, data: bytes) -> None:
        self.data += data
        if len(self.data) >= self.size and not self.done.done():
            self.done.set_result(None)

    def eof_received(self) -> None:
        self.ended = True

    def connection_lost(self, exc: BaseException | None) -> None:
        self.lost.set_result(exc)


def tls_endpoint(certificates: Certificates, port: int) -> TCP:
    return TCP("127.0.0.1", port, tls=TLS(ca=certificates.ca))


@asynccontextmanager
async def blocking_server(context: ssl.SSLContext, talk: Callable[[ssl.SSLSocket], Any]) -> AsyncGenerator[int]:
    """Accept one connection in a thread, shake hands, and let *talk* have it; give the port."""

    def serve() -> None:
        sock, _ = listener.accept()
        with sock, context.wrap_socket(sock, server_side=True, suppress_ragged_eofs=False) as conn:
            conn.settimeout(20)
            talk(conn)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        thread = aio.ensure_future(aio.to_thread(serve))
        yield listener.getsockname()[1]
        await thread


def echo_until_end(conn: ssl.SSLSocket) -> None:
    while data := conn.recv(65536):
        conn.sendall(data)
    conn.unwrap()


# --- both ways -------------------------------------------------------------------------------------------------------


@pytest.mark.row("D6", "T1", "T7")
@pytest.mark.parametrize("version", VERSIONS)
async def test_our_client_and_a_blocking_server_echo_a_megabyte(
    certificates: Certificates, version: ssl.TLSVersion
) -> None:
    context = server_context(certificates)
    context.maximum_version = version
    async with blocking_server(context, echo_until_end) as port:
        transport, talker = await aio.dial(
            lambda: Talker(MEGABYTE, len(MEGABYTE)), tls_endpoint(certificates, port), timeout=10
        )
        await talker.done
        assert talker.data == MEGABYTE
        transport.close()
        assert await talker.lost is None


@pytest.mark.row("D6", "T1", "T7")
async def test_our_server_and_a_blocking_client_echo_a_megabyte(certificates: Certificates) -> None:
    class Echo(Talker):
        def data_received(self, data: bytes) -> None:
            self.transport.write(data)

    made: list[Echo] = []

    def factory() -> Echo:
        made.append(Echo())
        return made[-1]

    def talk(port: int) -> bytes:
        context = client_context(certificates)
        found = b""
        sock = socket.create_connection(("127.0.0.1", port), timeout=20)
        with sock, context.wrap_socket(sock, server_hostname="localhost", suppress_ragged_eofs=False) as conn:
            for start in range(0, len(MEGABYTE), 65536):
                conn.sendall(MEGABYTE[start : start + 65536])
                wanted = len(found) + 65536
                while len(found) < wanted:
                    found += conn.recv(65536)
            conn.unwrap()
        return found

    listener = await aio.listen(factory, TCP("127.0.0.1", 0, tls=TLS(certificate=certificates.server)))
    port = cast("TCP", listener.endpoints[0]).port
    assert await aio.to_thread(talk, port) == MEGABYTE
    assert await made[0].lost is None
    assert made[0].ended
    await stop(listener)


@pytest.mark.row("D6", "T1", "T7")
@pytest.mark.asyncio_only("the peer is asyncio's TLS; trio's has a test of its own")
@pytest.mark.parametrize("closes", ["ours", "theirs"])
@pytest.mark.parametrize("dials", ["ours", "theirs"])
async def test_a_megabyte_goes_both_ways_at_once_against_asyncio_s_own_tls(
    certificates: Certificates, dials: str, closes: str
) -> None:
    loop = aio.running_loop()
    assert loop is not None
    accepted: aio.Queue = aio.Queue()

    def factory() -> Talker:
        talker = Talker(MEGABYTE, len(MEGABYTE))
        accepted.put_nowait(talker)
        return talker

    async with AsyncExitStack() as stack:
        if dials == "ours":
            server = await loop.create_server(factory, "127.0.0.1", 0, ssl=server_context(certificates))
            stack.push_async_callback(server.wait_closed)
            stack.callback(server.close)
            port = server.sockets[0].getsockname()[1]
            _, ours = await aio.dial(
                lambda: Talker(MEGABYTE, len(MEGABYTE)), tls_endpoint(certificates, port), timeout=10
            )
            theirs = await accepted.get()
        else:
            listener = await aio.listen(factory, TCP("127.0.0.1", 0, tls=TLS(certificate=certificates.server)))
            stack.push_async_callback(stop, listener)
            port = cast("TCP", listener.endpoints[0]).port
            context = client_context(certificates)
            _, theirs = await loop.create_connection(
                lambda: Talker(MEGABYTE, len(MEGABYTE)), "127.0.0.1", port, ssl=context
            )
            ours = await accepted.get()
        await aio.gather(ours.done, theirs.done)
        assert ours.data == theirs.data == MEGABYTE
        (ours if closes == "ours" else theirs).transport.close()
        assert await ours.lost is None
        assert await theirs.lost is None
        assert (ours if closes == "theirs" else theirs).ended


@pytest.mark.row("D6", "T1", "T7")
@pytest.mark.parametrize("runtime", [TrioRuntime()], ids=str, indirect=True)
@pytest.mark.parametrize("closes", ["ours", "theirs"])
@pytest.mark.parametrize("dials", ["ours", "theirs"])
async def test_a_megabyte_goes_both_ways_at_once_against_trio_s_own_tls(
    certificates: Certificates, dials: str, closes: str
) -> None:
    accepted: aio.Queue = aio.Queue()
    found = bytearray()

    def factory() -> Talker:
        talker = Talker(MEGABYTE, len(MEGABYTE))
        accepted.put_nowait(talker)
        return talker

    async def receive(stream: trio.SSLStream[trio.SocketStream]) -> None:
        while len(found) < len(MEGABYTE):
            found.extend(await stream.receive_some())

    async def talk(stream: trio.SSLStream[trio.SocketStream], ours: Talker) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive, stream)
            await stream.send_all(MEGABYTE)
        await ours.done
        if closes == "theirs":
            await stream.aclose()
        else:
            ours.transport.close()
            assert await stream.receive_some() == b""
            await stream.aclose()
        assert await ours.lost is None
        assert ours.ended is (closes == "theirs")
        assert ours.data == found == MEGABYTE

    if dials == "ours":
        (listener,) = await trio.open_ssl_over_tcp_listeners(
            0, server_context(certificates), host="127.0.0.1", https_compatible=False
        )
        async with listener:
            address = cast("trio.SocketListener", listener.transport_listener).socket.getsockname()
            dialling = aio.create_task(aio.dial(factory, tls_endpoint(certificates, address[1]), timeout=10))
            stream = await listener.accept()
            await stream.do_handshake()
            _, ours = await dialling
            await talk(stream, ours)
    else:
        ours_listening = await aio.listen(factory, TCP("127.0.0.1", 0, tls=TLS(certificate=certificates.server)))
        port = cast("TCP", ours_listening.endpoints[0]).port
        stream = await trio.open_ssl_over_tcp_stream("127.0.0.1", port, ssl_context=client_context(certificates))
        await stream.do_handshake()
        await talk(stream, await accepted.get())
        await stop(ours_listening)


# --- ends ------------------------------------------------------------------------------------------------------------


@pytest.mark.row("D6", "H68")
@pytest.mark.parametrize("clean", [True, False])
async def test_a_blocking_peer_that_cuts_is_told_from_one_that_closes(certificates: Certificates, clean: bool) -> None:
    def talk(conn: ssl.SSLSocket) -> None:
        conn.sendall(b"data")
        if clean:
            conn.unwrap()

    async with blocking_server(server_context(certificates), talk) as port:
        _, talker = await aio.dial(lambda: Talker(size=4), tls_endpoint(certificates, port), timeout=10)
        error = await talker.lost
        assert talker.data == b"data"
        assert talker.ended is clean
        assert error is None if clean else isinstance(error, TLSTruncated)


@pytest.mark.row("D6", "H68")
@pytest.mark.parametrize("clean", [True, False])
async def test_a_blocking_peer_sees_our_clean_end_and_our_cut(certificates: Certificates, clean: bool) -> None:
    seen: list[Any] = []

    def talk(conn: ssl.SSLSocket) -> None:
        try:
            seen.extend([conn.recv(4), conn.recv(4)])
        # A reset, when a session ticket was on its way to us; a broken pipe, when its OpenSSL tells us what is wrong.
        except (ssl.SSLEOFError, ConnectionError) as exc:
            seen.append(exc)

    async with blocking_server(server_context(certificates), talk) as port:
        transport, talker = await aio.dial(lambda: Talker(b"data"), tls_endpoint(certificates, port), timeout=10)
        if clean:
            transport.close()
        else:
            cast("Any", transport)._lower.close()  # an orderly end of TCP, in the middle of TLS
        await talker.lost
    assert seen == [b"data", b""] if clean else isinstance(seen[-1], OSError)


class Hold:
    """Holds a thread until it is told to go on."""

    def __init__(self) -> None:
        self.read, self.write = socket.socketpair()

    def get(self) -> None:
        self.read.settimeout(20)
        self.read.recv(1)

    def release(self) -> None:
        self.write.send(b"x")

    def close(self) -> None:
        self.read.close()
        self.write.close()


@asynccontextmanager
async def stuck_server(certificates: Certificates) -> AsyncGenerator[tuple[int, Callable[[], None]]]:
    """Give the port of a server that shakes hands and then reads nothing, and what makes it reset the connection."""
    hold = Hold()

    def talk(conn: ssl.SSLSocket) -> None:
        with socket.socket(fileno=conn.detach()) as raw:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            hold.get()

    try:
        async with blocking_server(server_context(certificates), talk) as port:
            try:
                yield port, hold.release
            finally:
                hold.release()
    finally:
        hold.close()


@pytest.mark.row("H62")
async def test_a_reset_while_tls_shuts_down_is_told_at_once(certificates: Certificates) -> None:
    async with stuck_server(certificates) as (port, reset):
        transport, talker = await aio.dial(
            lambda: Talker(bytes(20_000_000)), tls_endpoint(certificates, port), timeout=10
        )
        transport.close()
        assert transport.get_write_buffer_size()
        start = aio.now()
        reset()
        assert isinstance(await talker.lost, ConnectionResetError | BrokenPipeError)
        assert aio.now() - start < prompt(0.25)  # 0.05 on a quiet machine


@pytest.mark.row("H62")
@pytest.mark.parametrize("closing", [False, True])
async def test_callers_are_woken_when_a_peer_resets(certificates: Certificates, closing: bool) -> None:
    async with stuck_server(certificates) as (port, reset):
        session = connect(tls_endpoint(certificates, port))
        await session.create_connection(nursery=aio.nursery())
        calls = [aio.ensure_future(session.call("m", "x" * 10_000_000)) for _ in range(3)]
        await aio.sleep(0)
        await until(lambda: session._connected().machine.flow.paused)
        closers = [aio.ensure_future(session.aclose(force_after=30))] if closing else []
        await until(lambda: session.is_closing() == closing)
        start = aio.now()
        reset()
        results = await aio.gather(*calls, return_exceptions=True)
        await aio.gather(*closers)
        await session.wait_closed()
        assert aio.now() - start < prompt(0.25)
        expected = ClosedError if closing else ConnectionLost
        assert [type(result) for result in results] == [expected] * 3, results


@pytest.mark.row("D6", "H45")
async def test_closing_ends_also_when_the_peer_takes_nothing(certificates: Certificates) -> None:
    async with stuck_server(certificates) as (port, _):
        transport, talker = await aio.dial(
            lambda: Talker(bytes(20_000_000)), tls_endpoint(certificates, port), timeout=10, shutdown_timeout=0.05
        )
        transport.close()
        assert isinstance(await talker.lost, TimeoutError)


@pytest.mark.row("D6")
async def test_closing_ends_also_when_the_peer_never_says_close_notify(certificates: Certificates) -> None:
    async with stuck_server(certificates) as (port, _):
        transport, talker = await aio.dial(
            lambda: Talker(b"few words"), tls_endpoint(certificates, port), timeout=10, shutdown_timeout=0.05
        )
        transport.close()
        assert await talker.lost is None


# --- handshakes ------------------------------------------------------------------------------------------------------


@pytest.mark.row("D2", "H68")
@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")
@pytest.mark.parametrize("way", ["deadline", "cancelled"])
async def test_a_handshake_that_is_given_up_leaves_nothing(certificates: Certificates, way: str) -> None:
    made: list[Talker] = []

    def factory() -> Talker:
        made.append(Talker())
        return made[-1]

    with socket.create_server(("127.0.0.1", 0)) as listener:
        before = open_sockets()
        endpoint = tls_endpoint(certificates, listener.getsockname()[1])
        task = aio.ensure_future(aio.dial(factory, endpoint, timeout=0.05 if way == "deadline" else 20))
        if way == "cancelled":
            while not made or made[0].transport is None:
                await aio.sleep(0)
                if open_sockets() > before:
                    break
            task.cancel()
            with pytest.raises(aio.CancelledError):
                await task
        else:
            with pytest.raises(TimeoutError, match=rf"tls://127\.0\.0\.1:{endpoint.port} within 0\.05 s"):
                await task
        assert await settled(before) == before
        assert all(talker.transport is None for talker in made)


@pytest.mark.row("D2", "H60")
@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")
async def test_dialling_may_be_cancelled_in_any_turn(certificates: Certificates) -> None:
    listener = await aio.listen(Talker, TCP("127.0.0.1", 0, tls=TLS(certificate=certificates.server)))
    endpoint = tls_endpoint(certificates, cast("TCP", listener.endpoints[0]).port)
    before = open_sockets()
    count = 0
    while True:
        task = aio.ensure_future(aio.dial(Talker, endpoint, timeout=10))
        await turns(count)
        if task.done():
            break
        task.cancel()
        await aio.wait([task])
        if not task.cancelled():  # on trio only: its last wait was over
            assert aio.on_trio()
            task.result()[0].abort()
        await until(lambda: open_sockets() == before)
        count += 1
    assert count > 3
    transport, talker = await task
    transport.close()
    assert await talker.lost is None
    await until(lambda: open_sockets() == before)
    await stop(listener)


@pytest.mark.row("D6", "D3")
async def test_a_peer_that_hangs_up_in_the_handshake_is_told_with_the_endpoint(certificates: Certificates) -> None:
    def factory() -> aio.Protocol:
        class HangsUp(aio.Protocol):
            def connection_made(self, transport: Any) -> None:
                transport.close()

        return HangsUp()

    server = await aio.create_server(factory, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1] if not aio.on_trio() else server.endpoints[0].port
    with pytest.raises(ConnectionError, match=f"cannot connect to tls://127.0.0.1:{port}: "):
        await aio.dial(Talker, tls_endpoint(certificates, port), timeout=10)
    server.close()
    await server.wait_closed()


def not_begun(_layer: TLSLayer) -> None:
    """The connection does not come."""


def lost_in_the_handshake(layer: TLSLayer) -> None:
    layer.connection_lost(ConnectionResetError())


@pytest.mark.row("D6")
@pytest.mark.parametrize("before", [not_begun, lost_in_the_handshake])
async def test_what_connecting_raises_comes_out_as_it_is(
    before: Callable[[TLSLayer], None], certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    async def connect(layer: TLSLayer) -> None:
        before(layer)
        raise ZeroDivisionError

    host = host_of(cast("trio.Nursery", aio.nursery())) if aio.on_trio() else current_host()
    with pytest.raises(ZeroDivisionError):
        await secured(
            host,
            TLSLayer if aio.on_trio() else layer_class(),
            Talker(),
            context=client_context(certificates),
            server_hostname="localhost",
            connect=connect,
            what="cannot connect",
            handshake_timeout=1,
            shutdown_timeout=1,
        )
    gc.collect()
    assert not caplog.records  # asyncio reports exceptions that nobody has waited for


# --- reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.row("H50")
@pytest.mark.asyncio_only("a layer on trio is handed bytes")
async def test_an_idle_connection_owns_no_receive_buffer(certificates: Certificates) -> None:
    layer = layer_class().of(
        Talker(),
        current_host(),
        server_context(certificates),
        server_side=True,
        handshake_timeout=1,
        shutdown_timeout=1,
    )
    if isinstance(layer, BufferedTLSLayer):
        buffer = layer.get_buffer(-1)
        assert buffer.obj is current_host().buffer.obj
        assert len(buffer) == 64 * 1024  # full of short records it costs one turn of the loop 5 ms
    else:
        assert type(aio.running_loop()).__module__.startswith("uvloop")


@pytest.mark.row("H47")
@pytest.mark.asyncio_only("uvloop reads on for as long as its buffer comes back full; our transports on trio do not")
async def test_a_full_read_lets_the_others_have_their_turn(certificates: Certificates) -> None:
    stage = opened(certificates)
    layer = PlainTLSLayer(
        Upper(told=["made"]),
        stage.server.layer._filter,
        cast("Any", stage.host),
        handshake_timeout=None,
        shutdown_timeout=1,
        is_made=True,
    )
    layer._upper.transport = layer
    stage.server.pipe.protocol = layer
    layer.connection_made(stage.server.pipe)
    stage.client.layer.write(bytes(2 * FULL_READ))
    stage.client.pipe.move(FULL_READ)
    assert stage.server.pipe.is_paused
    stage.host.turn()
    assert not stage.server.pipe.is_paused
