# SPDX-License-Identifier: MIT
"""Packet clients that nobody closes, and what is left to tell of a connection that is gone."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import subprocess
import sys
import warnings
from typing import TYPE_CHECKING, Any
from weakref import ref

import pytest

import tieline
from tests import aio
from tests.clients.test_async_streams import LINES, all_of, pair
from tests.rpc.blocking.peers import until
from tieline.clients import AsyncUnixStreamClient, UnixStreamClient
from tieline.clients.engine import PacketEngine
from tieline.converter import AbstractPacketConverter
from tieline.exceptions import SendTimeout
from tieline.protocol import StreamProtocol
from tieline.runtimes import children
from tieline.serializers import (
    AbstractPacketSerializer,
    BytesSerializer,
    FixedSizePacketSerializer,
    LengthPrefixedSerializer,
)

if TYPE_CHECKING:
    from collections.abc import Callable

FORGET = """
import socket
from tieline.clients import UnixStreamClient
from tieline.protocol import StreamProtocol
from tieline.serializers import StringLineSerializer
ours, theirs = socket.socketpair()
client = UnixStreamClient(ours, StreamProtocol(StringLineSerializer()))
"""

# It does not end by itself.
CHILD = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
FORGET_CHILD = """
import asyncio, sys, {imported}
from tieline.protocol import StreamProtocol
from tieline.serializers import StringLineSerializer
command = tieline.Command([sys.executable, "-c", {child!r}])
client = {imported}.connect(command, protocol=StreamProtocol(StringLineSerializer()))
{print_first}
"""


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


async def test_a_forgotten_client_closes_its_connection_also_where_warnings_are_errors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda seen: told.append(seen.exc_type))
    with pair() as (ours, theirs), warnings.catch_warnings():
        warnings.simplefilter("error")
        client: Any = AsyncUnixStreamClient(ours, LINES)
        del ours
        await client.wait_connected()
        del client
        gc.collect()
        assert await all_of(theirs) == b""
    assert told == [ResourceWarning]


def test_so_does_one_in_blocking_code(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda seen: told.append(seen.exc_type))
    with pair() as (ours, theirs), warnings.catch_warnings():
        warnings.simplefilter("error")
        client: Any = UnixStreamClient(ours, LINES)
        del ours
        del client
        gc.collect()
        assert theirs.recv(10) == b""
    assert told == [ResourceWarning]


def send_behind_another(client: UnixStreamClient[Any, Any]) -> None:
    with pytest.raises(SendTimeout):
        client.send_packet("x" * 10_000_000, timeout=0)
    client.send_packet("y", timeout=0)


TIMED_OUT: dict[str, Callable[[UnixStreamClient[Any, Any]], object]] = {
    "recv_packet": lambda client: client.recv_packet(timeout=0),
    "recv_packets": lambda client: client.recv_packets(timeout=0),
    "iterator": lambda client: next(client.iter_received_packets(timeout=0), None) or client.recv_packet(timeout=0),
    "send_packet": send_behind_another,
}


@pytest.mark.parametrize("waits", TIMED_OUT.values(), ids=TIMED_OUT)
def test_one_whose_time_was_over_is_closed_when_it_is_forgotten_and_not_when_the_garbage_is_collected(
    waits: Callable[[UnixStreamClient[Any, Any]], object],
) -> None:
    gc.collect()
    gc.disable()
    try:
        with pair() as (ours, theirs):
            client = UnixStreamClient(ours, LINES)
            del ours
            with pytest.raises(TimeoutError):
                waits(client)
            with pytest.warns(ResourceWarning, match="unclosed client"):
                del client
            while theirs.recv(1 << 20):
                pass
    finally:
        gc.enable()


class Stumbling(AbstractPacketConverter[bytes, bytes]):
    """Has a fault of its own."""

    def create_from_dto_packet(self, packet: bytes, /) -> bytes:
        if packet == b"bad":
            raise ZeroDivisionError
        return packet

    def convert_to_dto_packet(self, obj: bytes, /) -> bytes:
        return obj


class StumblingThree(FixedSizePacketSerializer[bytes, bytes]):
    def __init__(self) -> None:
        super().__init__(3)

    def serialize(self, packet: bytes, /) -> bytes:
        return packet

    def deserialize(self, data: bytes, /) -> bytes:
        return Stumbling().create_from_dto_packet(data)


def prefixed(inner: AbstractPacketSerializer[Any, Any]) -> LengthPrefixedSerializer[Any, Any]:
    return LengthPrefixedSerializer(inner, prefix_size=1)


STUMBLING: dict[str, tuple[StreamProtocol[Any, Any], bytes]] = {
    "a converter": (StreamProtocol(prefixed(BytesSerializer()), Stumbling()), b"\3"),
    "a fixed size": (StreamProtocol(StumblingThree()), b""),
    "a length": (StreamProtocol(prefixed(StumblingThree())), b"\3"),
}


@pytest.mark.parametrize("name", STUMBLING)
async def test_nothing_is_left_for_the_garbage_collector_where_users_code_has_failed(name: str) -> None:
    protocol, before = STUMBLING[name]
    gc.collect()
    gc.disable()
    try:
        with pair() as (ours, theirs):
            theirs.sendall(b"".join(before + packet for packet in (b"one", b"bad", b"bad", b"two")))
            async with AsyncUnixStreamClient(ours, protocol) as client:
                assert await client.recv_packet() == b"one"
                for _ in range(2):
                    with pytest.raises(RuntimeError, match="raised ZeroDivisionError"):
                        await client.recv_packet()
                assert await client.recv_packet() == b"two"
                engine = ref(client._engine)
            del client
        for _ in range(5):
            await aio.sleep(0)
        assert engine() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("name", STUMBLING)
def test_nor_in_blocking_code(name: str) -> None:
    protocol, before = STUMBLING[name]
    gc.collect()
    gc.disable()
    try:
        with pair() as (ours, theirs):
            theirs.sendall(b"".join(before + packet for packet in (b"one", b"bad", b"bad", b"two")))
            with UnixStreamClient(ours, protocol) as client:
                assert client.recv_packet() == b"one"
                for _ in range(2):
                    with pytest.raises(RuntimeError, match="raised ZeroDivisionError"):
                        client.recv_packet()
                assert client.recv_packets() == [b"two"]
                engine = ref(client._engine)
            del client
        assert engine() is None
    finally:
        gc.enable()


def engines() -> int:
    return sum(issubclass(type(found), PacketEngine) for found in gc.get_objects())


def test_nor_is_anything_of_one_that_could_not_connect() -> None:
    gc.collect()
    gc.disable()
    try:
        before = engines()
        for _ in range(3):
            with pytest.raises(FileNotFoundError):
                UnixStreamClient("/no/such/socket", LINES)
        assert engines() == before
    finally:
        gc.enable()


def test_one_that_is_forgotten_when_the_interpreter_ends_is_named() -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "always::ResourceWarning", "-c", FORGET], capture_output=True, text=True, timeout=60
    )
    assert "unclosed client <UnixStreamClient unix:given-socket connected>" in ran.stderr
    assert "ImportError" not in ran.stderr


@pytest.mark.parametrize(
    ("imported", "print_first"),
    [("tieline", "print(asyncio.run(client.recv_packet()))"), ("tieline.blocking", "print(client.recv_packet())")],
)
def test_a_child_whose_client_is_forgotten_until_the_interpreter_ends_is_ended_without_a_traceback(
    imported: str, print_first: str
) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", FORGET_CHILD.format(imported=imported, child=CHILD, print_first=print_first)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert ran.stderr == ""
    until(lambda: is_gone(int(ran.stdout)))  # on a busy machine it takes its time to die


@pytest.mark.parametrize("dying", [children.DYING, 0.0])
def test_a_child_whose_loop_is_closed_before_its_client_ends_with_that(
    dying: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "DYING", dying)

    async def start() -> tuple[Any, str]:
        client = tieline.connect(tieline.Command([sys.executable, "-c", CHILD]), protocol=LINES)
        return client, await client.recv_packet()

    client, pid = asyncio.run(start())
    known = ref(client)
    with pytest.warns(ResourceWarning, match="unclosed client"):
        del client
    gc.collect()
    assert known() is None
    until(lambda: is_gone(int(pid)))  # as above; a thread waits for it then


async def test_whose_peer_is_gone_for_good_is_not_known_any_more() -> None:
    with pair() as (ours, theirs):
        async with AsyncUnixStreamClient(ours, LINES) as client:
            theirs.close()
            await client.send_packet("x")  # which finds it out
            while client.is_connected():
                await aio.sleep(0)
            with pytest.raises(OSError, match="the connection is gone") as told:
                client.get_peer_credentials()
            assert told.value.errno == errno.ENOTCONN
