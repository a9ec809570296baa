# SPDX-License-Identifier: MIT
"""Protocols of every descent, plain and buffered, with and without TLS: all hear the same on every runtime."""

from __future__ import annotations

import asyncio as theirs
import socket
from typing import Any

import pytest

import tieline
from tests import aio
from tests.certificates import Certificates
from tests.rpc.sessions import turns, until
from tests.streams.scene import Story, connect, serving, tls_client, tls_server
from tieline import transports
from tieline.runtimes.contract import is_buffered


class _Heard:
    """What all kinds below have: nothing of any base class."""

    size = 3

    def __init__(self) -> None:
        self.told: list[str] = []
        self.data = b""
        self.transport: Any = None
        self.lost_with: list[Any] = []
        self.buffer = bytearray(self.size)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.told.append("made")

    def eof_received(self) -> bool | None:
        self.told.append("eof")
        return None

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...

    def connection_lost(self, exc: BaseException | None) -> None:
        self.told.append("lost")
        self.lost_with.append(exc)


class _Pieces(_Heard):
    def data_received(self, data: bytes) -> None:
        assert data
        self.data += data


class _Buffers(_Heard):
    def get_buffer(self, sizehint: int) -> bytearray:
        assert sizehint == -1 or sizehint > 0
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        assert 0 < nbytes <= len(self.buffer)
        self.data += self.buffer[:nbytes]


class Bare(_Pieces): ...


class Ours(_Pieces, transports.Protocol): ...


class Theirs(_Pieces, theirs.Protocol): ...


class Slotted(transports.BufferedProtocol):
    __slots__ = ("buffer", "data", "lost_with", "told", "transport")
    __init__ = _Heard.__init__
    size = 3
    connection_made = _Heard.connection_made
    eof_received = _Heard.eof_received
    connection_lost = _Heard.connection_lost
    get_buffer = _Buffers.get_buffer
    buffer_updated = _Buffers.buffer_updated


class BareBuffered(_Buffers): ...


class OursBuffered(_Buffers, transports.BufferedProtocol): ...


class TheirsBuffered(_Buffers, theirs.BufferedProtocol): ...


class OfBothFamilies(_Buffers, transports.BufferedProtocol, theirs.BufferedProtocol): ...


class BothWays(_Buffers, transports.BufferedProtocol):
    """One that has `data_received` besides: the base class decides."""

    def data_received(self, data: bytes) -> None:
        raise AssertionError("a buffered protocol was given bytes")


KINDS = [Bare, Ours, Theirs, Slotted, BareBuffered, OursBuffered, TheirsBuffered, OfBothFamilies, BothWays]


async def _hears(kind: Any, certificates: Certificates, tls: bool) -> None:
    sent = bytes(range(256)) * 9
    tls_settings: dict[str, Any] = {"ssl": tls_client(certificates)} if tls else {}
    async with serving(kind, ssl=tls_server(certificates) if tls else None) as served:
        transport, protocol = await connect(kind, "127.0.0.1", served.port, **tls_settings)
        assert isinstance(protocol, kind)
        await until(lambda: served.protocols and served.protocols[0].told)
        accepted = served.protocols[0]
        transport.write(sent)
        accepted.transport.write(sent[::-1])
        await until(lambda: len(accepted.data) == len(protocol.data) == len(sent))
        transport.close()
        await until(lambda: protocol.lost_with and accepted.lost_with)
    assert accepted.data == sent
    assert protocol.data == sent[::-1]
    assert protocol.told == ["made", "lost"]
    assert accepted.told == ["made", "eof", "lost"]
    assert protocol.lost_with == accepted.lost_with == [None]


@pytest.mark.row("T0", "T7")
@pytest.mark.parametrize("tls", [False, True])
async def test_all_kinds_of_protocols_hear_the_same(tls: bool, certificates: Certificates) -> None:
    for kind in KINDS:
        await _hears(kind, certificates, tls)


@pytest.mark.row("T7")
@pytest.mark.parametrize("tls", [False, True])
async def test_a_protocol_can_hand_on_to_another_of_any_kind(tls: bool, certificates: Certificates) -> None:
    """By `set_protocol`, where nothing of ours sees it on asyncio: so those with a base class only."""
    settings: dict[str, Any] = {"ssl": tls_client(certificates)} if tls else {}
    kinds = [kind for kind in KINDS if kind is not BareBuffered or aio.on_trio() or tls]
    for first, second in [(kinds[0], kind) for kind in kinds] + [(kind, kinds[0]) for kind in kinds]:
        async with serving(ssl=tls_server(certificates) if tls else None) as served:
            transport, protocol = await connect(first, "127.0.0.1", served.port, **settings)
            transport.write(b"one")
            await until(lambda protocol=protocol: protocol.data == b"one")  # type: ignore[misc]  # with a default
            other: Any = second()
            transport.set_protocol(other)
            assert transport.get_protocol() is other
            transport.write(b"another")
            await until(lambda other=other: other.data == b"another")  # type: ignore[misc]  # as above
            transport.close()
            await until(lambda other=other: other.lost_with)  # type: ignore[misc]  # as above
            await served.lost()
        assert protocol.told == ["made"]
        assert protocol.data == b"one"
        assert other.told == ["lost"]


@pytest.mark.row("T2", "T7")
@pytest.mark.parametrize("kind", [Ours, BareBuffered, OursBuffered])
async def test_whoever_pauses_hears_no_more_however_small_the_buffers_are(kind: Any) -> None:
    class Pausing(kind):  # type: ignore[misc]  # a class at run time
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.pause_reading()

        def buffer_updated(self, nbytes: int) -> None:
            super().buffer_updated(nbytes)
            self.transport.pause_reading()

        if kind is not Ours:
            data_received = None  # type: ignore[assignment]  # it has none

    with socket.create_server(("127.0.0.1", 0)) as listener:
        transport, protocol = await connect(Pausing, *listener.getsockname())
        peer, _ = listener.accept()
        with peer:
            peer.sendall(b"abcdefgh")
            await until(lambda: protocol.data)
            before = protocol.data
            await turns(20)
            assert protocol.data == before
            while protocol.data != b"abcdefgh":
                seen = protocol.data
                transport.resume_reading()
                assert protocol.data == seen
                await until(lambda seen=seen: protocol.data != seen)  # type: ignore[misc]  # a lambda with a default
                assert len(protocol.data) - len(seen) <= 3
            transport.close()
            await until(lambda: protocol.lost_with)


@pytest.mark.row("T7")
@pytest.mark.parametrize("kind", [OursBuffered, BareBuffered])
async def test_an_empty_buffer_is_a_fault_that_ends_the_connection(kind: Any) -> None:
    class Empty(kind):  # type: ignore[misc]  # a class at run time
        size = 0

    with socket.create_server(("127.0.0.1", 0)) as listener, aio.reported() as reported:
        _, protocol = await connect(Empty, *listener.getsockname())
        peer, _ = listener.accept()
        with peer:
            peer.sendall(b"x")
            await until(lambda: protocol.lost_with)
    assert [type(error) for error in reported] == [RuntimeError]
    assert type(protocol.lost_with[0]) is RuntimeError


@pytest.mark.asyncio_only("the base classes of asyncio's loops")
@pytest.mark.row("T0", "T7")
async def test_on_asyncio_our_buffered_protocols_are_of_asyncios_kind_for_its_own_loop_as_well(runtime: Any) -> None:
    assert issubclass(transports.BufferedProtocol, theirs.BufferedProtocol)
    async with serving() as served:
        create: Any = theirs.get_running_loop().create_connection
        transport, protocol = await create(OursBuffered, "127.0.0.1", served.port)
        transport.write(b"hello")
        await until(lambda: protocol.data == b"hello")
        transport.close()
        await until(lambda: protocol.lost_with)
        await served.lost()


@pytest.mark.asyncio_only("the base classes of asyncio's loops")
async def test_a_class_that_cannot_be_changed_is_named() -> None:
    class Sealed(_Buffers):
        def __init_subclass__(cls) -> None:
            raise TypeError("no more")

    said = r"Sealed has get_buffer\(\): on asyncio it must derive from"
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(TypeError, match=said):
        await connect(Sealed, *listener.getsockname())


@pytest.mark.parametrize("kind", KINDS)
def test_who_wants_buffers_is_told_by_its_class_or_its_methods(kind: type) -> None:
    assert is_buffered(kind()) is ("Buffer" in kind.__name__ or kind in (Slotted, OfBothFamilies, BothWays))


@pytest.mark.row("T0")
def test_all_callbacks_have_empty_defaults() -> None:
    plain, buffered = transports.Protocol(), transports.BufferedProtocol()
    plain.connection_made(None)
    plain.data_received(b"x")
    for each in (plain, buffered):
        assert each.eof_received() is None
        each.pause_writing()
        each.resume_writing()
        each.connection_lost(None)
    with pytest.raises(NotImplementedError):
        buffered.get_buffer(1)


@pytest.mark.row("T7")
async def test_who_ends_it_while_it_is_made_is_told_of_both_on_a_server() -> None:
    class Unwilling(Story):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            transport.close()

    async with serving(Unwilling) as served:
        _, protocol = await connect(Story, "127.0.0.1", served.port)
        await until(lambda: protocol.lost_with and served.protocols[0].lost_with)
    assert served.protocols[0].told == ["made", "lost"]
    assert isinstance(served.server, tieline.StreamServer)
